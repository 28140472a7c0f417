import { setTimeout as delay } from "node:timers/promises";

/** OpenClaw writes down that an answer arrived a moment after it hears so. */
const WRITES_MS = 300;
/** An answer takes longer than this only while the bridge is away. */
const PATIENCE_MS = 10_000;

/**
 * Answers of one session that are on their way. OpenClaw holds an answer for lost from the moment it is handed over until its arrival is
 * written down, and when the next message of the session comes just then it tells people that it "couldn't confirm" that answer. So the
 * next message waits for it.
 */
export class Settling {
  readonly #patienceMs: number;
  #last: Promise<unknown> = Promise.resolve();

  constructor(patienceMs = PATIENCE_MS) {
    this.#patienceMs = patienceMs;
  }

  /** Returns what it gets. */
  during<T>(answer: Promise<T>): Promise<T> {
    const settles = (): Promise<unknown> => delay(WRITES_MS, undefined, { ref: false });
    this.#last = Promise.all([this.#last, answer.then(settles, settles)]);
    return answer;
  }

  /** Resolves when nothing is on its way, or it takes too long. Never rejects. */
  async settled(): Promise<void> {
    const patience = new AbortController();
    const tooLong = delay(this.#patienceMs, undefined, { ref: false, signal: patience.signal }).catch(() => undefined);
    await Promise.race([this.#last, tooLong]);
    patience.abort();
  }
}
