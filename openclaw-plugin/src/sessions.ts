import type { Run } from "./run.ts";
import { Settling } from "./settling.ts";

/** What is known of one of OpenClaw's sessions while it runs for this channel. */
export interface Session {
  /** The run that is going on. OpenClaw runs one at a time in a session. */
  run: Run | undefined;
  /** A message of which OpenClaw has yet to say whether it went into the run that was going on, or has one of its own: the latter. */
  hasOwnRun: (() => void) | undefined;
  /** OpenClaw has shown unfinished texts of this session, so they are no secret. */
  showsPartials: boolean;
  settling: Settling;
}

/** Sessions that are remembered: each is a few words. */
const REMEMBERED = 10_000;

/**
 * The runs of this channel by OpenClaw's session, and by the message that they answer. OpenClaw reports what happens in a run that had to
 * wait to another turn of the session than the one it belongs to, and delivers its answer through the outbound adapter; both find
 * the run here. Outlives a restart of an account, as its runs do.
 */
export class Sessions {
  readonly #sessions = new Map<string, Session>();
  /** By the envelope's id: runs whose answers come through the outbound adapter. */
  readonly #queued = new Map<string, Run>();

  session(key: string): Session {
    const session = this.#sessions.get(key) ?? {
      run: undefined,
      hasOwnRun: undefined,
      showsPartials: false,
      settling: new Settling(),
    };
    this.#sessions.delete(key);
    this.#sessions.set(key, session);
    for (const [oldest, { run }] of this.#sessions) {
      if (this.#sessions.size <= REMEMBERED) break;
      if (!run) this.#sessions.delete(oldest);
    }
    return session;
  }

  /** A message that had waited in OpenClaw's queue is being answered. */
  begin(envelopeId: string, run: Run): void {
    this.#queued.set(envelopeId, run);
  }

  end(envelopeId: string): void {
    this.#queued.delete(envelopeId);
  }

  /** The run that answers a message which had waited. */
  answering(envelopeId: string): Run | undefined {
    return this.#queued.get(envelopeId);
  }
}
