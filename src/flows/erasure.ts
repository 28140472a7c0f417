import { readdirSync } from "node:fs";
import { BridgeError, coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { EraseTarget } from "../queue/erase-find.ts";
import type { Erased, Eraser } from "../queue/eraser.ts";
import type { QueueName } from "../queue/store.ts";
import type { MediaFiles } from "./media-files.ts";
import type { Scope } from "./messages.ts";

export interface ErasureOptions {
  store: { eraser: Pick<Eraser, "erase">; compact(): boolean };
  files: Pick<MediaFiles, "remove">;
  dataDir: string;
  clock: Clock;
  logger: Logger;
  /** What waited in this lane was taken out of it. */
  changed: (queue: QueueName, lane: string) => void;
  /** An outbox message goes nowhere now. */
  cancelled: (id: string) => void;
}

/** What an erasure came to. */
export interface ErasureReport extends Erased {
  files: number;
  /** Messages of others that name them and are not finished: left for another call. */
  left: number;
  /** Nothing of it is left in unused places of the database either. False where it could not be written anew: call again. */
  compacted: boolean;
  /** Copies of the database from before an upgrade: they may hold it still, and are the operator's to remove. */
  backups: string[];
}

/** Deletes what is stored of a person or of a conversation, here and now. */
export class Erasures {
  readonly #options: ErasureOptions;
  /** One at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ErasureOptions) {
    this.#options = options;
  }

  /**
   * Throws BridgeError `not_finished` while messages of theirs wait or are under way, or with `openToo` while one is under way; nothing
   * is deleted then. Rejects like the store when it cannot be written: what was deleted by then is, and the next call goes on.
   */
  erase(target: Pick<EraseTarget, "kind" | "id">, options: { scope: Scope; openToo: boolean }): Promise<ErasureReport> {
    const next = this.#last
      .catch(() => {})
      .then(() => this.#erase({ ...target, account: options.scope.account }, options));
    this.#last = next;
    return next;
  }

  async #erase(target: EraseTarget, { openToo }: { openToo: boolean }): Promise<ErasureReport> {
    const { store, files, dataDir, clock, logger, changed, cancelled } = this.#options;
    const result = await store.eraser.erase(target, { openToo, at: clock.now() });
    if ("waiting" in result) throw unfinished(result);
    await files.remove(result.media);
    for (const { queue, lane } of result.lanes) changed(queue, lane);
    for (const id of result.cancelled) cancelled(id);
    const compacted = this.#compact();
    const { erased, left, media } = result;
    // Not of whom: the log would keep what was to be forgotten.
    logger.info({ ...erased, files: media.length, left, compacted }, "stored messages erased");
    return { ...erased, files: media.length, left, compacted, backups: backupsIn(dataDir) };
  }

  /** A disk that is full, or has no room for temporary files: what was asked for is gone from the rows all the same. */
  #compact(): boolean {
    try {
      return this.#options.store.compact();
    } catch (thrown) {
      this.#options.logger.warn({ err: coerceError(thrown) }, "the database could not be compacted");
      return false;
    }
  }
}

function unfinished({ waiting, underWay }: { waiting: number; underWay: number }): BridgeError {
  const parts = [waiting > 0 && `${waiting} wait`, underWay > 0 && `${underWay} are under way`].filter(Boolean);
  return new BridgeError("not_finished", `messages of theirs are not finished: ${parts.join(", ")}`, {
    retryable: true,
    mend:
      underWay > 0
        ? "try again when they have come to their end"
        : "try again when they are delivered, or take them out as well: openToo=true (dingtalk-bridge erase --open-too)",
  });
}

const backupsIn = (directory: string): string[] =>
  readdirSync(directory).filter((name) => /^bridge\..*\.backup\.db/.test(name));
