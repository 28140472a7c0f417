/**
 * An unbounded in-memory queue with one reader. The HTTP handler puts envelopes in, the account's loop takes them out:
 * a turn must run in the loop's context, because OpenClaw ends whatever was begun inside a request with that request.
 */
export class Mailbox<T> {
  readonly #waiting: T[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  /** False once the mailbox is closed. */
  put(item: T): boolean {
    if (this.#closed) return false;
    this.#waiting.push(item);
    this.#wake?.();
    return true;
  }

  /** Ends the reader's loop and returns what it had not taken. */
  close(): T[] {
    this.#closed = true;
    this.#wake?.();
    return this.#waiting.splice(0);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    while (!this.#closed) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        yield next;
        continue;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
    }
  }
}
