import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { stripVTControlCharacters } from "node:util";

export const DOWN = "\u001B[B";
export const UP = "\u001B[A";
export const ENTER = "\r";
export const CANCEL = "\u0003";

/** A program in a terminal of its own (`script` of util-linux), and a person before it who reads and types. */
export class Terminal {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #exit: Promise<number>;
  #raw = "";
  #seen = 0;
  #changed = Promise.withResolvers<void>();

  constructor(command: string, args: string[], options: { env: NodeJS.ProcessEnv; cwd: string }) {
    const line = [command, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
    this.#process = spawn("script", ["-qefc", `stty cols 110 rows 50; exec ${line}`, "/dev/null"], {
      ...options,
      env: { ...options.env, TERM: "xterm", SHELL: "/bin/sh" },
    });
    this.#process.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#raw += text;
      this.#wake();
    });
    this.#exit = once(this.#process, "close").then(([code]) => {
      this.#wake();
      return (code as number | null) ?? 1;
    });
  }

  /** Everything that was shown, without colours and cursor movements. */
  get screen(): string {
    return stripVTControlCharacters(this.#raw).replaceAll("\r", "");
  }

  /** Waits until a text is shown that was not shown at the answer before, and types. */
  async answer(question: string, keys: string, withinMs = 60_000): Promise<void> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const at = this.screen.indexOf(question, this.#seen);
      if (at >= 0) {
        this.#seen = at + question.length;
        break;
      }
      const isOver = this.#process.exitCode !== null || performance.now() > deadline;
      if (isOver) throw new Error(`"${question}" was not asked:\n${this.screen.slice(-4_000)}`);
      await Promise.race([this.#changed.promise, once(AbortSignal.timeout(1_000), "abort")]);
    }
    this.#process.stdin.write(keys);
  }

  /** Waits for the end; what was shown comes with the exit status. */
  async end(): Promise<{ status: number; screen: string }> {
    return { status: await this.#exit, screen: this.screen };
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
