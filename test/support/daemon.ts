import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { cpuSeconds, rssMb } from "./daemon-proc.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
/** The compiled daemon: what is measured. */
export const BUILT_MAIN = new URL("../../dist/main.js", import.meta.url).pathname;

/** The real daemon as a process of its own, which can be killed without a word and started again. */
export class Daemon {
  readonly #env: Record<string, string>;
  readonly #main: string;
  #child: ChildProcess | undefined;
  /** Lines of level error and above, for the report. */
  readonly errors: string[] = [];

  constructor(env: Record<string, string>, options: { main?: string } = {}) {
    this.#env = env;
    this.#main = options.main ?? MAIN;
  }

  /** Starts the process; it works when its socket shows up in the simulator. `nodeArgs` and `env` are for this life only. */
  start(options: { nodeArgs?: string[]; env?: Record<string, string> } = {}): void {
    const child = spawn(process.execPath, [...(options.nodeArgs ?? []), this.#main, "start"], {
      env: { PATH: process.env["PATH"] ?? "", LOG_LEVEL: "error", ...this.#env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => this.errors.push(...text.trim().split("\n")));
    }
    this.#child = child;
  }

  get running(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    if (!this.running || this.#child?.pid === undefined) throw new Error("the daemon does not run");
    return this.#child.pid;
  }

  /** Resolves when the process has ended, whoever ended it. */
  async ended(): Promise<void> {
    if (this.#child && this.running) await once(this.#child, "exit");
  }

  /** SIGKILL: no handler runs, nothing is flushed. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** SIGTERM; resolves with the exit status, null when it did not run or was killed. */
  async stop(): Promise<number | null> {
    await this.#end("SIGTERM");
    return this.#child?.exitCode ?? null;
  }

  /** Sends a signal that it lives on after. */
  signal(name: NodeJS.Signals): void {
    process.kill(this.pid, name);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child || !this.running) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** Resident memory of the process (Linux). */
  rssMb(): number {
    return rssMb(this.pid);
  }

  /** Processor time used since the start. */
  cpuSeconds(): number {
    return cpuSeconds(this.pid);
  }

  /** Open file descriptors: files, sockets, timers of the kernel. */
  handles(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Most memory it ever had (Linux). */
  peakRssMb(): number {
    const kb = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1];
    return Number(kb) / 1_024;
  }
}

/** A port nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || !address) throw new Error("no free port");
  return address.port;
}
