import type { Decision } from "./types.ts";

/** Taken envelopes that are remembered, so that a repeat is answered as one (a bridge holds at most a few per lane). */
const REMEMBERED = 10_000;

/** How far an envelope has come in OpenClaw. */
export type Standing =
  | { kind: "taken"; decision: Decision }
  | { kind: "deferred" }
  | { kind: "failed"; reason: string };

/** One envelope on its way. `standing` is undefined until OpenClaw has said something. */
export interface Entry {
  readonly id: string;
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
  readonly #open = new Map<string, Entry>();
  readonly #taken = new Map<string, Decision>();

  /** The entry of an envelope that is on its way. */
  open(id: string): Entry | undefined {
    return this.#open.get(id);
  }

  /** What was decided about an envelope that was taken. */
  taken(id: string): Decision | undefined {
    return this.#taken.get(id);
  }

  begin(id: string): Entry {
    const { promise, resolve } = Promise.withResolvers<Standing>();
    const entry: Entry = {
      id,
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
    this.#open.set(id, entry);
    return entry;
  }

  #remember(id: string, decision: Decision): void {
    this.#taken.set(id, decision);
    const oldest = this.#taken.size > REMEMBERED ? this.#taken.keys().next().value : undefined;
    if (oldest !== undefined) this.#taken.delete(oldest);
  }
}
