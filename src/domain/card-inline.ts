import { lineStart } from "./split-lines.ts";
import type { Range } from "./split-parse.ts";

/** What running text (a paragraph, a heading, a table's row) has in it. Questions are asked in rising order of offsets. */
export class InlineMarks {
  /** Markers that are open at its end, if it ends before they are closed. */
  readonly open: OpenMarks;
  readonly #text: string;
  readonly #code: Range[];
  readonly #tags: number[];
  #codeAt = 0;
  #tagAt = 0;

  constructor(text: string, found: { code: Range[]; tags: number[]; open: OpenMarks }) {
    this.#text = text;
    this.#code = found.code;
    this.#tags = found.tags;
    this.open = found.open;
  }

  /** Whether an offset lies in a code span. */
  isCode(at: number): boolean {
    while ((this.#code[this.#codeAt]?.end ?? Infinity) <= at) this.#codeAt += 1;
    return (this.#code[this.#codeAt]?.start ?? Infinity) < at;
  }

  /** A slice in which every `<` that would begin a tag nobody shows is a character. */
  withoutTags(start: number, end: number): string {
    let out = "";
    let from = start;
    for (let at = this.#tags[this.#tagAt]; at !== undefined && at < end; at = this.#tags[this.#tagAt]) {
      if (at >= start) {
        out += `${this.#text.slice(from, at)}&lt;`;
        from = at + 1;
      }
      this.#tagAt += 1;
    }
    return out + this.#text.slice(from, end);
  }
}

interface OpenMarks {
  /** What would close them. */
  closing: string;
  /** Where a marker begins that has nothing behind it yet; else the end. */
  end: number;
}

/** What card Markdown knows: line breaks, colours, and @ (dingtalk-protocol.md §4.2, `cardAtUserIds`). */
const SHOWN_TAG = /<(?:br[ \t]*\/?|\/?font(?:[ \t][^<>`\r\n]*)?|a[ \t]+atId=[^<>`\r\n]*|\/a)>/iy;
const AUTOLINK = /<(?:[a-z][a-z0-9+.-]{1,31}:[^\s<>]*|[\w.!#$%&'*+/=?^{|}~-]{1,99}@[\w.-]{1,255})>/iy;
const TAG_START = /<(?:\/?[a-z]|[!?])/iy;
const ESCAPABLE = /[!-/:-@[-`{-~]/;

/** One pass over `text` from `start` to `end`: what begins first counts, as in CommonMark. */
export function inlineMarks(text: string, start: number, end: number): InlineMarks {
  const runs = new BacktickRuns(text, start, end);
  const code: Range[] = [];
  const tags: number[] = [];
  let tick: Range | undefined;
  let strong: number | undefined;
  let bracket = false;
  let at = start;
  while (at < end) {
    const character = text[at];
    if (character === "\\") {
      at += ESCAPABLE.test(text[at + 1] ?? "") ? 2 : 1;
    } else if (character === "`") {
      const length = runLength(text, at, end);
      const close = runs.next(length, at + length);
      if (close === undefined) tick ??= { start: at, end: at + length };
      else code.push({ start: at, end: close + length });
      at = close === undefined ? at + length : close + length;
    } else if (character === "*") {
      const length = runLength(text, at, end);
      if (tick === undefined && length === 2) strong = afterStrong(text, { at, start, end, strong });
      at += length;
    } else if (character === "<") {
      const length = matchLength(SHOWN_TAG, text, at) || matchLength(AUTOLINK, text, at);
      const destination = bracket && text[at - 1] === "(" && text[at - 2] === "]";
      if (length === 0 && !destination && matchLength(TAG_START, text, at) > 0) tags.push(at);
      at += Math.max(1, length);
    } else {
      bracket ||= character === "[";
      at += 1;
    }
  }
  return new InlineMarks(text, { code, tags, open: openMarks(text, { start, end, tick, strong }) });
}

/** Where `**` opened that is still open. */
function afterStrong(
  text: string,
  { at, start, end, strong }: { at: number; start: number; end: number; strong: number | undefined },
): number | undefined {
  const before = at > start ? (text[at - 1] ?? " ") : " ";
  const after = at + 2 < end ? (text[at + 2] ?? " ") : " ";
  if (strong !== undefined) return /\s/.test(before) ? strong : undefined;
  return /\s/.test(after) && at + 2 < end ? undefined : at;
}

function openMarks(
  text: string,
  { start, end, tick, strong }: { start: number; end: number; tick: Range | undefined; strong: number | undefined },
): OpenMarks {
  const line = lineStart(text, end);
  if (tick && tick.start < line) return { closing: "", end };
  // A star that ends the text is half of a closing marker, or the beginning of one.
  const star = strong !== undefined && end - 1 > strong + 2 && text[end - 1] === "*" && text[end - 2] !== "*";
  const bold = strong === undefined ? "" : star ? "*" : "**";
  if (tick && tick.end === end) {
    return strong !== undefined && strong + 2 >= tick.start
      ? { closing: "", end: strong }
      : { closing: bold, end: tick.start };
  }
  if (tick) return { closing: text.slice(tick.start, tick.end) + bold, end };
  if (strong !== undefined && strong + 2 >= end) return { closing: "", end: strong };
  if (strong === undefined && /(?:^|\s)\*{1,2}$/.test(text.slice(Math.max(start, end - 3), end))) {
    return { closing: "", end: end - (text[end - 2] === "*" ? 2 : 1) };
  }
  return { closing: bold, end };
}

/** Runs of backticks by length: for each opening one the next of its length is the closing one. */
class BacktickRuns {
  readonly #starts = new Map<number, number[]>();
  readonly #next = new Map<number, number>();

  constructor(text: string, start: number, end: number) {
    for (let at = text.indexOf("`", start); at >= 0 && at < end;) {
      const length = runLength(text, at, end);
      const starts = this.#starts.get(length);
      if (starts) starts.push(at);
      else this.#starts.set(length, [at]);
      at = text.indexOf("`", at + length);
    }
  }

  /** Asked for offsets in rising order, so that all questions together take one pass. */
  next(length: number, from: number): number | undefined {
    const starts = this.#starts.get(length);
    if (!starts) return undefined;
    let index = this.#next.get(length) ?? 0;
    while ((starts[index] ?? Infinity) < from) index += 1;
    this.#next.set(length, index);
    return starts[index];
  }
}

/** How many of the same character stand here. */
function runLength(text: string, at: number, end: number): number {
  const unit = text.charCodeAt(at);
  let next = at + 1;
  while (next < end && text.charCodeAt(next) === unit) next += 1;
  return next - at;
}

function matchLength(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}
