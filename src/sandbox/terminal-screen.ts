import type { Writable } from "node:stream";
import { harmless } from "./terminal-text.ts";

const DEFAULT_COLUMNS = 80;
const ERASE_LINE = "\r\u001b[2K";

/** Where the sandbox writes: lines, and on a terminal one line at the end that is written over. */
export class Screen {
  readonly #output: Writable & { isTTY?: boolean; columns?: number };
  #hasLive = false;

  constructor(output: Writable) {
    this.#output = output;
  }

  /** Lines can be written over. */
  get isTerminal(): boolean {
    return this.#output.isTTY === true;
  }

  get columns(): number {
    return this.#output.columns ?? DEFAULT_COLUMNS;
  }

  print(text: string): void {
    this.#write(`${this.#erased()}${harmless(text)}\n`);
  }

  /** Replaces the live line; it must fit. Nothing without a terminal. */
  live(line: string): void {
    if (!this.isTerminal) return;
    this.#write(`${this.#erased()}${harmless(line)}`);
    this.#hasLive = true;
  }

  #erased(): string {
    const erase = this.#hasLive ? ERASE_LINE : "";
    this.#hasLive = false;
    return erase;
  }

  #write(text: string): void {
    // A reader that has gone, such as `head`, is no reason to fail: the end of the input ends the sandbox.
    if (!this.#output.destroyed) this.#output.write(text);
  }
}
