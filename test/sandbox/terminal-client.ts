import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { expect, vi } from "vitest";
import { runSandbox, type TerminalOptions } from "../../src/sandbox/terminal.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const ANSWER = { timeout: 15_000, interval: 20 };

/** A directory for files that a person sends, deleted by `close`. */
export function folder() {
  const directory = mkdtempSync(join(tmpdir(), "bridge-terminal-"));
  return {
    directory,
    /** Returns its path. */
    write(name: string, data: string | Buffer): string {
      const path = join(directory, name);
      writeFileSync(path, data);
      return path;
    },
    close: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** `dingtalk-bridge sandbox` as a process of its own, spoken to through pipes. */
export class SandboxProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<number | null>;
  #text = "";
  #stderr = "";
  #read = 0;

  constructor(...args: string[]) {
    this.#child = spawn(process.execPath, [MAIN, "sandbox", ...args], { env: { HOME: tmpdir() } });
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => (this.#text += text));
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#stderr += text));
    this.#ended = once(this.#child, "close").then(([status]) => status as number | null);
  }

  /** Types a line, then waits until what follows matches; returns what was printed since the last call. */
  async type(line: string, answer: RegExp): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    return this.expect(answer);
  }

  async expect(answer: RegExp): Promise<string> {
    const text = await vi.waitFor(() => {
      const read = this.#text.slice(this.#read);
      expect(read + this.#stderr).toMatch(answer);
      // No line is cut.
      expect(read === "" || read.endsWith("\n")).toBe(true);
      return read;
    }, ANSWER);
    this.#read = this.#text.length;
    return text;
  }

  /** What was printed and not read by `type` or `expect`. */
  get rest(): string {
    return this.#text.slice(this.#read);
  }

  /** Ends the input, perhaps with a last line; resolves with the exit status. */
  end(line?: string): Promise<number | null> {
    this.#child.stdin.end(line === undefined ? undefined : `${line}\n`);
    return this.#ended;
  }

  async close(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

/** The sandbox in this process: what it printed, and its exit status. */
export async function sandboxHere(
  options: Partial<TerminalOptions> & { isTTY?: boolean; onOutput?: (text: string) => void },
): Promise<{ status: number; text: string }> {
  const output = Object.assign(new PassThrough(), { isTTY: options.isTTY === true, columns: 60 });
  let text = "";
  output.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    options.onOutput?.(text);
  });
  const input = new PassThrough();
  const { signal } = new AbortController();
  const status = await runSandbox({ version: "0.0.0-test", port: 0, input, output, signal, ...options });
  return { status, text };
}
