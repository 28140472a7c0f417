import { type InlineMarks, inlineMarks } from "./card-inline.ts";
import { barsOf, cellsOf } from "./card-leaves.ts";
import { type MarkedLine, markedLines } from "./card-lines.ts";
import { titleOf } from "./text.ts";

const TITLE_LENGTH = 40;
const DEEPEST_HEADING = 6;

/**
 * Markdown as the Markdown variable of an AI card shows it right (dingtalk-protocol.md §4.3, dingtalk-console.md "Line
 * break in card Markdown"): line breaks inside paragraphs, list items and block quotes become `<br>`, the lines of a
 * quoted paragraph one line; a table has a blank line before it and spaces around its pipes; an open fence is closed;
 * headings have six marks at most; tags that cards do not know are shown as text. Code, also in line, stays as it is.
 * What is rendered already stays as it is.
 *
 * `writing`: the text is the beginning of one that is still being written. Then bold text and code spans that are open
 * at its end are closed, a marker with nothing behind it is held back, and a table begins with half of its delimiter row.
 */
export function renderForCard(markdown: string, { writing = false }: { writing?: boolean } = {}): string {
  return new Renderer(markdown, "card", writing).render();
}

/**
 * Markdown as an ordinary message (sessionWebhook `markdown`, `sampleMarkdown`) shows it right (dingtalk-protocol.md
 * §3.2): line breaks inside paragraphs are two spaces and a newline; tables and lists that follow a paragraph have a
 * blank line before them; an open fence is closed, since mentions are written behind it; headings have six marks at
 * most. Everything else is left alone, HTML too, and so is what is rendered already. To be applied to a whole text before
 * it is split, for it makes texts longer; the parts of a rendered text need no rendering.
 */
export function renderForMessage(markdown: string): string {
  return new Renderer(markdown, "message", false).render();
}

/** What a chat list shows of a card: the first line without markup, behind the account's label; at most 40 graphemes. */
export function cardSummary(markdown: string, label?: string): string {
  const shown = markdown.slice(0, 4_000).replace(/^\s*(?:`{3,}|~{3,})[^\r\n]*/, "");
  const title = titleOf(shown.replace(/<br[ \t]*\/?>/gi, "\n").replace(/<\/?font[^<>]*>/gi, ""));
  return label === undefined || label.trim() === "" ? title : shortened(`${label.trim()}: ${title}`);
}

/** The longest beginning of at most 40 graphemes. */
function shortened(text: string): string {
  let end = 0;
  let count = 0;
  for (const { index, segment } of new Intl.Segmenter("zh", { granularity: "grapheme" }).segment(text)) {
    if (count === TITLE_LENGTH) break;
    count += 1;
    end = index + segment.length;
  }
  return text.slice(0, end);
}

class Renderer {
  readonly #text: string;
  readonly #card: boolean;
  readonly #newline: string;
  readonly #lines: MarkedLine[];
  readonly #closing: string | undefined;
  /** The last line that says something, while the text is being written. */
  readonly #growing: MarkedLine | undefined;
  /** In place of that line: a delimiter row that is not complete yet. */
  readonly #delimiters: string | undefined;

  constructor(text: string, dialect: "card" | "message", writing: boolean) {
    this.#text = text;
    this.#card = dialect === "card";
    this.#newline = text.includes("\r\n") ? "\r\n" : "\n";
    // A card shows tags as text, so that they begin no blocks.
    const { lines, closing } = markedLines(text, { html: !this.#card });
    this.#lines = lines;
    this.#closing = closing;
    this.#growing = writing ? lines.findLast(({ kind }) => kind !== "blank") : undefined;
    this.#delimiters = this.#growing && this.#beginTable(this.#growing);
  }

  render(): string {
    const lines = this.#lines;
    let out = "";
    for (let index = 0, next = 0; index < lines.length; index = next) {
      const line = lines[index];
      if (!line) break;
      next = index + 1;
      if (line.kind === "text") while (isMore(lines[next])) next += 1;
      if (line.interrupts === "table" || (line.interrupts === "list" && !this.#card)) out += this.#blankLine(line);
      out += line.kind === "text" ? this.#paragraph(lines.slice(index, next)) : this.#single(line, lines[next]);
      const last = lines[next - 1] ?? line;
      out += this.#text.slice(last.end, last.next);
    }
    if (this.#closing === undefined) return out;
    return out + (/[\r\n]$/.test(out) ? "" : this.#newline) + this.#closing;
  }

  /** With the quote markers that keep it in its containers. */
  #blankLine({ start, content, margin, interrupts }: MarkedLine): string {
    const prefix = this.#text.slice(start, interrupts === "table" ? content : margin);
    return prefix.replace(/[^\s>]/g, " ").trimEnd() + this.#newline;
  }

  /** A line that is no paragraph. */
  #single({ kind, start, content, end, interrupts }: MarkedLine, following: MarkedLine | undefined): string {
    // Behind a blank line the indentation that a line of a paragraph may have would make code of it.
    const placed = interrupts === "table" && following?.kind === "table" ? following : { start, content };
    const head = this.#text.slice(placed.start, placed.content);
    if (kind === "table" && this.#card) {
      if (this.#delimiters !== undefined && start === this.#growing?.start) return head + this.#delimiters;
      return head + spaced(this.#cells(content, end));
    }
    if (kind !== "heading") return head + this.#text.slice(content, end);
    const marks = /^#*/.exec(this.#text.slice(content, end))?.[0].length ?? 0;
    const from = content + Math.max(0, marks - DEEPEST_HEADING);
    return head + (this.#card ? this.#lastLine(from, start, end) : this.#text.slice(from, end));
  }

  /** A row: nothing that is open at the end of a cell goes on in the next one. */
  #cells(start: number, end: number): string {
    const row = this.#text.slice(start, end);
    // Only a code span can hide a tag, and most rows have none.
    if (!row.includes("`") || !row.includes("<")) return inlineMarks(this.#text, start, end).withoutTags(start, end);
    let from = start;
    const cells = [...barsOf(row), row.length].map((bar) => {
      const cell = { start: from, end: start + bar };
      from = cell.end + 1;
      return inlineMarks(this.#text, cell.start, cell.end).withoutTags(cell.start, cell.end);
    });
    return cells.join("|");
  }

  #paragraph(lines: MarkedLine[]): string {
    const [first] = lines;
    const last = lines.at(-1);
    if (!first || !last) return "";
    let out = this.#text.slice(first.start, first.content);
    const marks = inlineMarks(this.#text, first.content, last.end);
    for (const [index, line] of lines.entries()) {
      const next = lines[index + 1];
      if (next) out += this.#broken(marks, line, next);
      else if (!this.#card) out += this.#text.slice(line.content, line.end);
      else if (line !== this.#growing) out += marks.withoutTags(line.content, line.end);
      else out += this.#lastLine(line.content, line.start, line.end, first.content);
    }
    return out;
  }

  /** A card's line from `from` on; while it is being written, what is open in its text since `begin` is closed. */
  #lastLine(from: number, start: number, end: number, begin = from): string {
    const growing = start === this.#growing?.start;
    const stop = growing ? from + this.#text.slice(from, end).trimEnd().length : end;
    const marks = inlineMarks(this.#text, begin, stop);
    if (!growing) return marks.withoutTags(from, stop);
    const { open } = marks;
    return marks.withoutTags(from, Math.max(from, open.end)) + open.closing;
  }

  /** A line of a paragraph and the break between it and the next one. */
  #broken(marks: InlineMarks, line: MarkedLine, next: MarkedLine): string {
    const { content } = line;
    const slice = this.#text.slice(content, line.end);
    if (marks.isCode(line.end)) {
      return (this.#card ? marks.withoutTags(content, line.end) : slice) + this.#text.slice(line.end, next.content);
    }
    const bare = slice.trimEnd();
    const escaped = bare.length === slice.length && (/\\+$/.exec(bare)?.[0].length ?? 0) % 2 === 1;
    const end = content + bare.length - (escaped ? 1 : 0);
    const broken = /<br[ \t]*\/?>$/i.test(bare.slice(-40));
    if (this.#card) return marks.withoutTags(content, end) + (broken ? "" : "<br>");
    const ending = this.#text.slice(line.end, next.content);
    if (broken || /[^ ] {2,}$/.test(slice.slice(-400))) return slice + ending;
    return `${this.#text.slice(content, end)}  ${ending}`;
  }

  /** Takes the end of a growing text for a table if it looks like the beginning of one. */
  #beginTable(last: MarkedLine): string | undefined {
    if (last.kind !== "text" || last.lazy) return undefined;
    const text = this.#text.slice(last.content, last.end);
    const head = last.continues ? this.#lines[this.#lines.indexOf(last) - 1] : undefined;
    const row = head?.kind === "text" && !head.lazy ? this.#text.slice(head.content, head.end) : "";
    if (head && row.startsWith("|") && /^[|:\- \t]+$/.test(text) && cellsOf(text) <= cellsOf(row)) {
      asTable(head);
      last.kind = "table";
      return `|${" --- |".repeat(cellsOf(row))}`;
    }
    if (text.startsWith("|")) asTable(last);
    return undefined;
  }
}

const isMore = (line: MarkedLine | undefined): boolean => line?.kind === "text" && line.continues;

/** The first line of a table that a paragraph may stand before. */
function asTable(line: MarkedLine): void {
  line.kind = "table";
  if (line.continues) line.interrupts = "table";
  line.continues = false;
}

/** Before white space it would begin a list or a heading. */
const MARKER = /^(?:[*+-]|\d{1,9}[.)]|#+)$/;

/** A row with white space on both sides of every pipe that is not escaped, but behind what would become a marker. */
function spaced(row: string): string {
  let out = "";
  let from = 0;
  for (const at of barsOf(row)) {
    const isTight =
      at === 0 || at === from || /\s/.test(row[at - 1] ?? "") || MARKER.test(row.slice(0, Math.min(at, 12)));
    const before = isTight ? "" : " ";
    const after = at + 1 === row.length || /\s/.test(row[at + 1] ?? "") ? "" : " ";
    out += `${row.slice(from, at)}${before}|${after}`;
    from = at + 1;
  }
  return out + row.slice(from);
}
