import type { Log } from "./bridge-http.ts";

/** What isolates direct conversations from one another. */
export const ISOLATE = "openclaw config set session.dmScope per-channel-peer";

export const SHARED_SESSION =
  "direct messages of several people share one session, so each may read what another wrote; this keeps them apart";

/** The part of a route that says whose conversation a message continues. */
export interface SessionRoute {
  sessionKey: string;
  mainSessionKey: string;
}

/**
 * Notices when the direct messages of a second person continue the session of somebody else: each then reads in the answers what the
 * other has said, and `/reset` of one empties both. The log says so once in the life of the process.
 */
export class SharedSessions {
  readonly #log: Log;
  /** The main session that a person writes in; absent when it is not a main session. */
  readonly #sessionOf = new Map<string, string>();
  #isSaid = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Whether two people write in one session. */
  get isShared(): boolean {
    return new Set(this.#sessionOf.values()).size < this.#sessionOf.size;
  }

  /** A direct message was let in. True when this changed whether sessions are shared. */
  admitted({ sessionKey, mainSessionKey }: SessionRoute, senderId: string): boolean {
    const before = this.isShared;
    if (sessionKey === mainSessionKey) this.#sessionOf.set(senderId, sessionKey);
    else this.#sessionOf.delete(senderId);
    if (this.isShared && !this.#isSaid) {
      this.#isSaid = true;
      this.#log.warn(`dingtalk: ${SHARED_SESSION}: ${ISOLATE}`);
    }
    return this.isShared !== before;
  }
}
