/** What tells when OpenClaw has said where a message stands. */
interface Placed {
  readonly first: Promise<unknown>;
}

/**
 * Who waits for whom in a conversation: each message until OpenClaw has said where all before it stand. One that overtakes (`/stop`)
 * waits for nothing, and what comes after it waits for it and for those that it overtook; the same after one that was taken back.
 */
export class Order {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Takes a place at the end and returns what comes before it; undefined when nothing does. Never rejects. */
  enter(conversation: string, { first }: Placed, overtakes: boolean): Promise<unknown> | undefined {
    const before = this.#last.get(conversation);
    const mine = Promise.all([before, first]).then(() => {
      if (this.#last.get(conversation) === mine) this.#last.delete(conversation);
    });
    this.#last.set(conversation, mine);
    return overtakes ? undefined : before;
  }
}
