import type { Decision } from "./types.ts";

/** Taken envelopes that are remembered, so that a repeat is answered as one (a bridge holds at most a few per lane). */
const REMEMBERED = 10_000;

/** How far an envelope has come in OpenClaw. */
export type Standing =
  | { kind: "taken"; decision: Decision }
  | { kind: "deferred" }
  | { kind: "failed"; reason: string };

/** Whose message it is: who asks to stop means his own. */
export interface Author {
  account: string;
  conversation: string;
  sender: string;
}

/** One envelope on its way. `standing` is undefined until OpenClaw has said something. */
export interface Entry {
  readonly id: string;
  readonly author: Author | undefined;
  /** Fires when its author asked to stop before OpenClaw had begun. */
  readonly stopped: AbortSignal;
  standing: Standing | undefined;
  /** Resolves when `standing` is set for the first time; never rejects. */
  readonly first: Promise<Standing>;
  /** Says how far it has come. Taken and failed are final; what comes after them is ignored. */
  note(standing: Standing): void;
}

/**
 * Knows every envelope that is on its way and the last ones that were taken, so that no envelope is dispatched twice within
 * one life of the gateway. Taken and failed are final; a failed envelope is forgotten, so the bridge's next try starts anew.
 */
export class Ledger {
  readonly #open = new Map<string, { entry: Entry; stop: AbortController }>();
  readonly #taken = new Map<string, { decision: Decision; isTold: boolean }>();

  /** The entry of an envelope that is on its way. */
  open(id: string): Entry | undefined {
    return this.#open.get(id)?.entry;
  }

  /** What was decided about an envelope that was taken, and whether the bridge was told so already. */
  taken(id: string): { decision: Decision; wasTold: boolean } | undefined {
    const taken = this.#taken.get(id);
    if (!taken) return undefined;
    const wasTold = taken.isTold;
    taken.isTold = true;
    return { decision: taken.decision, wasTold };
  }

  begin(id: string, author?: Author): Entry {
    const { promise, resolve } = Promise.withResolvers<Standing>();
    const stop = new AbortController();
    const entry: Entry = {
      id,
      author,
      stopped: stop.signal,
      standing: undefined,
      first: promise,
      note: (standing) => {
        if (entry.standing && entry.standing.kind !== "deferred") return;
        entry.standing = standing;
        resolve(standing);
        if (standing.kind === "deferred") return;
        this.#open.delete(id);
        if (standing.kind === "taken") this.#remember(id, standing.decision);
      },
    };
    this.#open.set(id, { entry, stop });
    return entry;
  }

  /** `by` asks to stop: what OpenClaw has not begun of its author's earlier messages in the conversation is taken and does not run. */
  stop(by: Entry): void {
    for (const { entry, stop } of [...this.#open.values()]) {
      if (entry === by || !isSameAuthor(entry.author, by.author)) continue;
      entry.note({ kind: "taken", decision: { decision: "stopped", reason: "stopped: its sender asked to stop" } });
      stop.abort();
    }
  }

  #remember(id: string, decision: Decision): void {
    this.#taken.set(id, { decision, isTold: false });
    const oldest = this.#taken.size > REMEMBERED ? this.#taken.keys().next().value : undefined;
    if (oldest !== undefined) this.#taken.delete(oldest);
  }
}

function isSameAuthor(one: Author | undefined, other: Author | undefined): boolean {
  if (!one || !other) return false;
  return one.account === other.account && one.conversation === other.conversation && one.sender === other.sender;
}
