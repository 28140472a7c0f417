/** Every number of the Stream connection, in milliseconds unless it says otherwise. */
export interface StreamTimings {
  /** The open call as a whole: connecting, headers and body. */
  openTimeoutMs: number;
  /** The WebSocket from DNS to the upgrade's answer. */
  handshakeTimeoutMs: number;
  pingEveryMs: number;
  /** A ping without any byte from the peer for this long is a miss. */
  pongWaitMs: number;
  /** Misses in a row after which the connection is dead. */
  pingMisses: number;
  /** The silence rule needs this many SYSTEM frames to know the server's habit. */
  silenceFrames: number;
  /** Silent for this many times the largest gap between SYSTEM frames … */
  silenceFactor: number;
  /** … and for at least this long. */
  silenceAtLeastMs: number;
  backoffBaseMs: number;
  backoffCapMs: number;
  /** A connection that lived this long makes the next failure the first again. */
  healthyAfterMs: number;
  /** Where only the administrator can help: wrong credentials, robot not in Stream mode, IP list, month's quota. */
  credentialsRetryMs: number;
  /** DingTalk blocks an address for five minutes (dingtalk-protocol.md §5.3). */
  ipBlockedRetryMs: number;
  /** DingTalk's own Java client renews after six hours (dingtalk-protocol.md §1.9). */
  maxAgeMs: number;
  /** A connection this old is replaced without delay when the server asks; a younger one waits its backoff. */
  replaceAtOnceAfterMs: number;
  /** How long a replaced connection may live on. The server closes it after about 10 s. */
  drainMs: number;
  /** For the peer's answer to our close frame; then the socket is cut. */
  closeWaitMs: number;
  /** A connection closed by the peer before this age, without one message, is a short life … */
  shortLifeMs: number;
  /** … and this many in a row are worth a hint. */
  shortLives: number;
  /** At most one log line per kind of repeated trouble in this time. */
  logEveryMs: number;
  /** Pushes being stored at one time; more are left without an ack, and DingTalk pushes them again. A count. */
  maxInFlight: number;
}

const DEFAULTS: StreamTimings = {
  openTimeoutMs: 5_000,
  handshakeTimeoutMs: 10_000,
  pingEveryMs: 10_000,
  pongWaitMs: 5_000,
  pingMisses: 2,
  silenceFrames: 3,
  silenceFactor: 3,
  silenceAtLeastMs: 90_000,
  backoffBaseMs: 1_000,
  backoffCapMs: 30_000,
  healthyAfterMs: 60_000,
  credentialsRetryMs: 60_000,
  ipBlockedRetryMs: 300_000,
  maxAgeMs: 6 * 3_600_000,
  replaceAtOnceAfterMs: 10_000,
  drainMs: 10_000,
  closeWaitMs: 1_000,
  shortLifeMs: 30_000,
  shortLives: 5,
  logEveryMs: 60_000,
  maxInFlight: 5_000,
};

/** The defaults with what the caller changes. The wait for a pong follows the ping's interval unless given. */
export function streamTimings(changes: Partial<StreamTimings> = {}): StreamTimings {
  const pongWaitMs = changes.pongWaitMs ?? (changes.pingEveryMs ?? DEFAULTS.pingEveryMs) / 2;
  return { ...DEFAULTS, ...changes, pongWaitMs };
}
