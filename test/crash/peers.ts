import { type ChildProcess, fork } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { cpuSeconds, rssMb } from "../support/daemon-proc.ts";

interface Answer {
  id?: number;
  result?: unknown;
  error?: string;
  event?: string;
}

/** A process that answers calls over the IPC channel, e.g. a simulator (peer.ts). Can be killed and started again. */
export class Peer {
  readonly events = new EventEmitter<Record<string, [unknown]>>();
  readonly #script: string;
  readonly #argv: string[];
  readonly #options: unknown;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #child: ChildProcess | undefined;
  #calls = 0;

  /** `options` go to the peer's `start`, at every start. */
  constructor(script: URL, argv: string[], options: unknown) {
    this.#script = script.pathname;
    this.#argv = argv;
    this.#options = options;
  }

  async start(): Promise<void> {
    const child = fork(this.#script, this.#argv, {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    this.#child = child;
    child.on("message", (answer: Answer) => this.#hear(answer));
    child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${this.#argv.join(" ")} is gone`));
      this.#waiting.clear();
    });
    await this.call("start", this.#options);
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("the peer was not started");
    return this.#child.pid;
  }

  call<T>(name: string, ...args: unknown[]): Promise<T> {
    this.#calls += 1;
    const id = this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#child?.send({ id, name, args }, (error) => {
        if (error) reject(error);
      });
    });
  }

  /** The next event of that name, within `ms`. */
  async waitFor(event: string, ms: number): Promise<void> {
    await once(this.events, event, { signal: AbortSignal.timeout(ms) });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  rssMb(): number {
    return rssMb(this.pid);
  }

  cpuSeconds(): number {
    return cpuSeconds(this.pid);
  }

  #hear(answer: Answer): void {
    if (answer.event !== undefined) this.events.emit(answer.event, answer.result);
    const call = answer.id === undefined ? undefined : this.#waiting.get(answer.id);
    if (!call || answer.id === undefined) return;
    this.#waiting.delete(answer.id);
    if (answer.error === undefined) call.resolve(answer.result);
    else call.reject(new Error(answer.error));
  }
}

/** Reads a file of JSON lines that others append to; each call gives what is new. */
export class JournalReader<T> {
  readonly #fd: number;
  #offset = 0;

  constructor(file: string) {
    this.#fd = openSync(file, "a+");
  }

  read(): T[] {
    const size = fstatSync(this.#fd).size - this.#offset;
    if (size <= 0) return [];
    const bytes = Buffer.alloc(size);
    this.#offset += readSync(this.#fd, bytes, 0, size, this.#offset);
    // A line that is still being written ends in the next call; it may end within a character.
    const whole = bytes.lastIndexOf(0x0a) + 1;
    this.#offset -= size - whole;
    return bytes
      .toString("utf8", 0, whole)
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as T);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
