export interface SchedulePlan {
  /** Updates in all; undefined: any number. */
  most: number | undefined;
  /** Shortest and longest time between two updates. Milliseconds. */
  intervalMs: number;
  maxIntervalMs: number;
  /** Half as many updates: the month's calls run ahead of the calendar. */
  rarer: boolean;
}

/** When a card that may be updated only six times is: often at first, when people watch. Seconds after its creation. */
const MOMENTS = [1, 2.5, 5, 12, 30, 90, 270] as const;
const FEW = 6;
const GROWTH = 1.5;

/**
 * When the next update of a card may begin: milliseconds after its creation, `undefined` when there is to be none. `sent` is how
 * many there were, `lastMs` when the last began (0: its creation).
 */
export function nextUpdate(plan: SchedulePlan, { sent, lastMs }: { sent: number; lastMs: number }): number | undefined {
  const { most, intervalMs, maxIntervalMs, rarer } = plan;
  if (most === undefined) {
    const gap = Math.max(intervalMs, Math.min(maxIntervalMs, intervalMs * GROWTH ** Math.min(sent, 100)));
    return lastMs + gap * (rarer ? 2 : 1);
  }
  const allowed = rarer ? Math.floor(most / 2) : most;
  if (sent >= allowed) return undefined;
  return Math.max(momentOf(sent, allowed) * 1_000, lastMs + intervalMs);
}

/** The moments of a card of which only its age is known: those that are over count as used. */
export function updatesBy(plan: SchedulePlan, ageMs: number): { sent: number; lastMs: number } {
  let state = { sent: 0, lastMs: 0 };
  // Growing gaps: some hundred rounds for a day.
  for (;;) {
    const at = nextUpdate(plan, state);
    if (at === undefined || at > ageMs || state.sent >= 100) return { ...state, lastMs: Math.max(0, ageMs) };
    state = { sent: state.sent + 1, lastMs: at };
  }
}

/** The moment of update number `index` of `count`, in seconds: spread over the six, and between them where there are more. */
function momentOf(index: number, count: number): number {
  const position = (index * FEW) / count;
  const before = Math.floor(position);
  const from = MOMENTS[before] ?? 0;
  if (count <= FEW) return from;
  return from * ((MOMENTS[before + 1] ?? from) / from) ** (position - before);
}
