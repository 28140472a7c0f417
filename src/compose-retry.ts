export const AWAY_BACKOFF = { baseMs: 1_000, capMs: 30_000 };

/** What both queues do with what did not work. */
export const RETRY = {
  maxAttempts: 12,
  entry: { baseMs: 1_000, capMs: 5 * 60_000 },
  peerAway: AWAY_BACKOFF,
  onUncertain: "retry" as const,
};
