import { statfs } from "node:fs/promises";
import { BridgeError, coerceError } from "../domain/errors.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import type { Health, Service } from "./service.ts";

/** What is given up when space runs out, first things first, and below which share of `minFreeMb`. */
const STEPS = [
  { gives: "media", below: 1, says: "media is not fetched" },
  { gives: "api", below: 1 / 2, says: "the API takes nothing new" },
  { gives: "acks", below: 1 / 4, says: "messages from DingTalk are not acknowledged; it sends them again" },
] as const;

type Given = (typeof STEPS)[number]["gives"];

/** A step is taken back when this much more than its threshold is free, so that it does not flap. */
const HYSTERESIS = 1.1;
/** With less than this free, a store that could not write is not called well again: the next write would fail. */
const ROOM_TO_WRITE = 1024 * 1024;
const MB = 1024 * 1024;

const EVERY_MS = 1_000;

export interface DiskWatchOptions {
  directory: string;
  /** Megabytes of free space below which the first step is taken; 0: no step ever. */
  minFreeMb: number;
  /** The one file that must take writes. */
  store: {
    readonly failure: BridgeError | undefined;
    probe(): Promise<void>;
  };
  logger: Logger;
  metrics: Metrics;
  everyMs?: number;
  /** Free bytes; undefined where the file system does not say. Default: what `statfs` says an ordinary user may have. */
  freeBytes?: (directory: string) => Promise<number | undefined>;
}

/**
 * Watches the space of the data directory and whether the store takes writes (design §11). Below `minFreeMb` work is
 * refused in steps, before SQLite has to; each step and its end is one log line, and all of it mends itself.
 */
export class DiskWatch implements Service {
  readonly name = "disk";
  readonly #options: DiskWatchOptions;
  /** How many of STEPS are taken. */
  #level = 0;
  #free: number | undefined;
  #unreadable = false;
  /** The log has a line that says so, and none yet that it is over. */
  #storeDown = false;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #running = false;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#running = true;
    await this.#look();
  }

  async stop(): Promise<void> {
    this.#running = false;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** The error to refuse this kind of work with; undefined while there is room for it. */
  refusal(work: Given): BridgeError | undefined {
    const taken = STEPS.slice(0, this.#level).some(({ gives }) => gives === work);
    if (!taken) return undefined;
    return new BridgeError("disk_low", `the disk of the data directory is nearly full (${this.#left()})`, {
      retryable: true,
      mend: this.#mend(),
    });
  }

  health(): Health {
    const { failure } = this.#options.store;
    if (failure) {
      const { code, message, mend } = failure;
      return { status: "down", code, detail: message, ...(mend !== undefined && { mend }) };
    }
    const step = STEPS[this.#level - 1];
    if (!step) return { status: "ok" };
    return {
      status: step.gives === "acks" ? "down" : "degraded",
      code: "disk_low",
      detail: `${this.#left()}; ${step.says}`,
      mend: this.#mend(),
    };
  }

  /** One look at a time; a second caller waits for the one under way. */
  #look(): Promise<void> {
    this.#looking ??= this.#check().finally(() => {
      this.#looking = undefined;
      clearTimeout(this.#timer);
      if (!this.#running) return;
      this.#timer = setTimeout(() => void this.#look(), this.#options.everyMs ?? EVERY_MS);
    });
    return this.#looking;
  }

  async #check(): Promise<void> {
    await this.#measure();
    const { store, logger } = this.#options;
    const { failure } = store;
    if (!failure) return;
    if (!this.#storeDown)
      logger.error({ code: failure.code, reason: failure.message, mend: failure.mend }, "the store takes no writes");
    this.#storeDown = true;
    if (this.#free !== undefined && this.#free < ROOM_TO_WRITE) return;
    try {
      await store.probe();
    } catch {
      // Says no more than `failure`.
      return;
    }
    this.#storeDown = false;
    logger.warn("the store takes writes again");
  }

  async #measure(): Promise<void> {
    const { directory, metrics, logger, freeBytes = freeOf } = this.#options;
    try {
      this.#free = await freeBytes(directory);
    } catch (thrown) {
      this.#free = undefined;
      if (!this.#unreadable) logger.warn({ err: coerceError(thrown) }, "free space of the data directory is not known");
      this.#unreadable = true;
    }
    if (this.#free === undefined) return this.#take(0);
    this.#unreadable = false;
    metrics.diskFree.set(this.#free);
    this.#take(this.#levelFor(this.#free / MB));
  }

  #levelFor(freeMb: number): number {
    return STEPS.filter(({ below }, index) => {
      const threshold = this.#options.minFreeMb * below;
      return freeMb < (index < this.#level ? threshold * HYSTERESIS : threshold);
    }).length;
  }

  #take(level: number): void {
    if (level === this.#level) return;
    const worse = level > this.#level;
    this.#level = level;
    const { logger } = this.#options;
    const fields = { freeMb: this.#freeMb(), now: STEPS[level - 1]?.says ?? "everything is taken" };
    if (worse) logger.error({ ...fields, mend: this.#mend() }, "disk space runs out");
    else logger.warn(fields, "there is disk space again");
  }

  #freeMb(): number | undefined {
    return this.#free === undefined ? undefined : Math.floor(this.#free / MB);
  }

  #left(): string {
    return `${this.#freeMb() ?? "?"} MB are free`;
  }

  #mend(): string {
    const { directory, minFreeMb } = this.#options;
    return `free space on the disk of ${directory}: ${Math.ceil(minFreeMb * HYSTERESIS)} MB should be free (BRIDGE_DISK_MIN_FREE_MB)`;
  }
}

const SQLITE_FULL = 13;

/** The error for a data directory that could not be opened: `store_unavailable` when it only has no room, which passes. */
export function unusable(directory: string, cause: Error): BridgeError {
  const full =
    ("code" in cause && cause.code === "ENOSPC") || ("errcode" in cause && Number(cause.errcode) % 256 === SQLITE_FULL);
  return new BridgeError(
    full ? "store_unavailable" : "data_dir_unusable",
    `the data directory ${directory} is not usable: ${cause.message}`,
    {
      cause,
      retryable: full,
      mend: full
        ? `free space on the disk of ${directory}`
        : `make BRIDGE_DATA_DIR a directory on a local disk that belongs to this user (uid ${process.getuid?.() ?? "?"}), with everything in it`,
    },
  );
}

/** Some network and overlay file systems know no size at all: 0 of 0 blocks says nothing. */
async function freeOf(directory: string): Promise<number | undefined> {
  const { bavail, bsize, blocks } = await statfs(directory);
  return blocks === 0 ? undefined : bavail * bsize;
}
