/** An exponential delay with jitter: anything from a tenth of min(cap, base × 2^(attempt - 1)) to all of it. Milliseconds. */
export interface Backoff {
  baseMs: number;
  capMs: number;
}

/**
 * Delay in milliseconds after attempt number `attempt` (from 1); `random` is uniform in [0, 1). The lower bound of a
 * tenth keeps a storm of zeros from hammering a peer.
 */
export function backoffDelay({ baseMs, capMs }: Backoff, attempt: number, random: () => number): number {
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(Math.max(attempt, 1) - 1, 30));
  return Math.round(ceiling * (0.1 + 0.9 * random()));
}
