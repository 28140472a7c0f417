import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { senderOf } from "./allowlist.ts";

/** OpenClaw forgets a request after an hour. */
const REQUEST_MS = 3_600_000;
const POLL_MS = 2_000;
/** The bridge refuses it, or was away for as long as patience lasts: asked again after this. */
const AGAIN_MS = 60_000;

/** One person who was given a code. */
export interface PairingRequest {
  /** As OpenClaw keeps it. */
  id: string;
  /** Where to answer. */
  to: string;
  /** Makes this request different from the next one of the same person. */
  request: string;
  /** The code was said. */
  isTold: boolean;
}

interface Waiting extends PairingRequest {
  /** Epoch milliseconds. */
  until: number;
}

export interface PairingWatchOptions {
  /** Undefined while OpenClaw has not given its state directory: then nothing outlives the process. */
  file: () => string | undefined;
  warn: (message: string) => void;
  now?: () => number;
  pollMs?: number;
}

/** What the loop of one account needs. */
export interface WatchedAccount {
  accountId: string;
  signal: AbortSignal;
  /** The people whom OpenClaw keeps as approved. */
  readApproved: () => Promise<string[]>;
  /** Tells the person; may throw. */
  confirm: (request: PairingRequest) => Promise<void>;
}

/**
 * Notices that a person was approved, and says so. OpenClaw calls nobody when `openclaw pairing approve` runs in another process, and
 * even with `--notify` it does not find a channel there that is not its own; so as long as somebody waits, its list is read.
 * The requests are kept in a file, because the codes outlive a restart of the gateway, too.
 */
export class PairingWatch {
  readonly #options: PairingWatchOptions;
  readonly #waiting = new Map<string, Map<string, Waiting>>();
  readonly #refusedAt = new Map<string, number>();
  readonly #wakes = new Map<string, () => void>();
  #loaded: Promise<void> | undefined;
  #saved: Promise<void> = Promise.resolve();

  constructor(options: PairingWatchOptions) {
    this.#options = options;
  }

  /** The request of a person that is not an hour old. */
  async find(accountId: string, id: string): Promise<PairingRequest | undefined> {
    await this.#load();
    return this.#find(accountId, id);
  }

  #find(accountId: string, id: string): Waiting | undefined {
    const found = this.#waiting.get(accountId)?.get(id);
    return found && found.until > this.#now() ? found : undefined;
  }

  /** A person has a code, or is about to be told one. */
  async asked(accountId: string, request: PairingRequest): Promise<void> {
    await this.#load();
    const until = this.#find(accountId, request.id)?.until ?? this.#now() + REQUEST_MS;
    this.#people(accountId).set(request.id, { ...request, until });
    await this.#save();
    this.#wakes.get(accountId)?.();
  }

  /** Whether a person may be told that there is no code: once an hour. */
  mayRefuse(accountId: string, id: string): boolean {
    return this.#now() - (this.#refusedAt.get(`${accountId}/${id}`) ?? -Infinity) >= REQUEST_MS;
  }

  refused(accountId: string, id: string): void {
    const now = this.#now();
    for (const [key, at] of this.#refusedAt) if (now - at >= REQUEST_MS) this.#refusedAt.delete(key);
    this.#refusedAt.set(`${accountId}/${id}`, now);
  }

  /** The person has been told. */
  async confirmed(accountId: string, id: string): Promise<void> {
    if (!this.#people(accountId).delete(id)) return;
    await this.#save();
  }

  /** Runs until the signal fires; never rejects. */
  async run({ accountId, signal, readApproved, confirm }: WatchedAccount): Promise<void> {
    await this.#load();
    while (!signal.aborted) {
      await this.#untilAsked(accountId, signal);
      if (signal.aborted) return;
      const failed = await this.#look({ accountId, readApproved, confirm }).catch((error: unknown) => {
        if (!signal.aborted) this.#options.warn(`dingtalk: an approval was not confirmed: ${String(error)}`);
        return true;
      });
      const pause = failed ? AGAIN_MS : (this.#options.pollMs ?? POLL_MS);
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  async #look({ accountId, readApproved, confirm }: Omit<WatchedAccount, "signal">): Promise<boolean> {
    const approved = new Set((await readApproved()).map(senderOf));
    for (const request of this.#people(accountId).values()) {
      const isApproved = approved.has(request.id);
      const isOver = request.until <= this.#now();
      if (!isApproved && !isOver) continue;
      try {
        if (isApproved) await confirm(request);
      } catch (error) {
        // Tried again, but not for ever.
        if (isOver) await this.confirmed(accountId, request.id);
        throw error;
      }
      await this.confirmed(accountId, request.id);
    }
    return false;
  }

  async #untilAsked(accountId: string, signal: AbortSignal): Promise<void> {
    if (this.#people(accountId).size > 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wakes.set(accountId, resolve);
    const stop = (): void => resolve();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    await promise;
    signal.removeEventListener("abort", stop);
  }

  #people(accountId: string): Map<string, Waiting> {
    let people = this.#waiting.get(accountId);
    if (!people) this.#waiting.set(accountId, (people = new Map()));
    return people;
  }

  #load(): Promise<void> {
    return (this.#loaded ??= this.#read());
  }

  async #read(): Promise<void> {
    const file = this.#options.file();
    if (file === undefined) return;
    try {
      for (const [accountId, waiting] of readRequests(await readFile(file, "utf8"))) {
        const people = this.#people(accountId);
        if (!people.has(waiting.id)) people.set(waiting.id, waiting);
      }
    } catch (error) {
      const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isAbsent) this.#options.warn(`dingtalk: ${file} cannot be read, it is begun anew: ${String(error)}`);
    }
  }

  /** One write after another, the last one with everything in it. A file that cannot be written costs no more than a confirmation. */
  #save(): Promise<void> {
    return (this.#saved = this.#saved.then(async () => {
      const file = this.#options.file();
      if (file === undefined) return;
      const all = [...this.#waiting].map(([accountId, people]) => [accountId, [...people.values()]]);
      try {
        await mkdir(dirname(file), { recursive: true, mode: 0o700 });
        await writeFile(`${file}.new`, JSON.stringify(Object.fromEntries(all)), { mode: 0o600 });
        await rename(`${file}.new`, file);
      } catch (error) {
        this.#options.warn(`dingtalk: ${file} cannot be written: ${String(error)}`);
      }
    }));
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}

/** Throws when it is no JSON; what is not understood in it is left out. */
function readRequests(text: string): [string, Waiting][] {
  const accounts: unknown = JSON.parse(text);
  return Object.entries(accounts ?? {}).flatMap(([accountId, people]) =>
    Array.isArray(people)
      ? (people as unknown[]).filter(isWaiting).map((waiting): [string, Waiting] => [accountId, waiting])
      : [],
  );
}

function isWaiting(value: unknown): value is Waiting {
  if (typeof value !== "object" || value === null) return false;
  const { id, to, request, isTold, until } = value as Record<string, unknown>;
  const texts = [id, to, request].every((one) => typeof one === "string" && one !== "");
  return texts && typeof isTold === "boolean" && typeof until === "number";
}
