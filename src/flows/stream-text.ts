import { coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { StreamNote, StreamRow, StreamStore } from "../queue/stream-store.ts";

export interface StreamText {
  seq: number;
  /** All of it so far. */
  text: string;
  /** What is being done, a few words; shown below the text. */
  status?: string;
}

/** Text that is newer than what is on disk is written after so long, when somebody brings more. */
const SAVE_MS = 5_000;

/** The newest text of one stream: in memory, and now and then on disk. */
export class GrowingText {
  readonly #id: string;
  readonly #options: { store: StreamStore; clock: Clock; logger: Logger };
  #newest: Required<StreamText>;
  #saved: string;
  #savedAt: number;
  #saving: Promise<unknown> = Promise.resolve();

  constructor({ id, text, seq }: StreamRow, options: { store: StreamStore; clock: Clock; logger: Logger }) {
    this.#id = id;
    this.#options = options;
    this.#newest = { seq, text, status: "" };
    this.#saved = text;
    this.#savedAt = options.clock.monotonic();
  }

  get text(): string {
    return this.#newest.text;
  }

  get seq(): number {
    return this.#newest.seq;
  }

  get status(): string {
    return this.#newest.status;
  }

  /** Differs when there is something new to show. */
  get version(): string {
    return `${this.status}\n${this.text}`;
  }

  /** The newest wins; false for an older one. */
  put({ seq, text, status = "" }: StreamText): boolean {
    if (seq < this.#newest.seq) return false;
    this.#newest = { seq, text, status };
    if (this.#options.clock.monotonic() - this.#savedAt >= SAVE_MS) this.save();
    return true;
  }

  /** Writes the text, if it is news. Nobody has to wait: what fails is written the next time. */
  save(): void {
    const { clock, logger } = this.#options;
    this.#savedAt = clock.monotonic();
    if (this.text === this.#saved) return;
    this.#saving = this.note({ text: this.text, seq: this.seq }).catch((thrown: unknown) => {
      logger.debug({ err: coerceError(thrown), streamId: this.#id }, "a text could not be kept");
    });
  }

  /** False when the stream is closed. */
  async note(change: StreamNote): Promise<boolean> {
    const isOpen = await this.#options.store.note(this.#id, change);
    if (change.text !== undefined) this.#saved = change.text;
    return isOpen;
  }

  /** Resolves when `save` is done. */
  async atRest(): Promise<void> {
    await this.#saving;
  }
}
