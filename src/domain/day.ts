const DAY_MS = 24 * 60 * 60_000;
/** DingTalk's day, and its months, change at 00:00 Asia/Shanghai, which has had no summer time since 1991. */
export const SHANGHAI_OFFSET_MS = 8 * 60 * 60_000;

/** Epoch milliseconds of the last midnight in Asia/Shanghai. */
export function dayStart(now: number): number {
  return Math.floor((now + SHANGHAI_OFFSET_MS) / DAY_MS) * DAY_MS - SHANGHAI_OFFSET_MS;
}

/** `2026-11-23`, the day in Asia/Shanghai. */
export function dayName(now: number): string {
  return new Date(now + SHANGHAI_OFFSET_MS).toISOString().slice(0, 10);
}
