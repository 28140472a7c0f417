import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

/** A process of this test run, with everything it wrote. */
export class Child {
  readonly #process: ChildProcess;
  readonly #exit: Promise<number>;
  #output = "";

  constructor(command: string, args: string[], options: { env: NodeJS.ProcessEnv; cwd?: string }) {
    this.#process = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    this.#process.stdout?.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
    this.#exit = once(this.#process, "close").then(([code, signal]) => (code as number | null) ?? (signal ? 128 : 1));
  }

  get output(): string {
    return this.#output;
  }

  get exited(): Promise<number> {
    return this.#exit;
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Sends the signal and waits for the end. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<number> {
    if (this.running) this.#process.kill(signal);
    return await this.#exit;
  }
}

/** Asks until the answer is true; throws with what the process wrote when it ends or the time is up. */
export async function until(child: Child, what: string, ask: () => Promise<boolean>, withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (performance.now() < deadline) {
    if (await ask().catch(() => false)) return;
    if (!child.running) throw new Error(`ended before it was ${what}:\n${child.output.slice(-4_000)}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`not ${what} in time:\n${child.output.slice(-4_000)}`);
}
