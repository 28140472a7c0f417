import { LineCursor } from "./card-cursor.ts";
import { type LeafStart, cellsOf, isDelimiterRow, isSetext, leafAt, listMarkerAt } from "./card-leaves.ts";
import { type Line, linesOf } from "./split-lines.ts";

/** text: of a paragraph. code: between fences, or indented. definition: of a link or footnote. */
type LineKind = "blank" | "text" | "heading" | "fence" | "code" | "table" | "html" | "rule" | "definition";

/** One line of Markdown and what it is. */
export interface MarkedLine extends Line {
  kind: LineKind;
  /** Where its text begins, behind indentation, quote and list markers. */
  content: number;
  /** It goes on with the paragraph or the table of the line before it. */
  continues: boolean;
  /** It has less in front of it than the containers of its paragraph ask for. */
  lazy: boolean;
  /** A table or a list that begins here, directly behind a line of a paragraph. */
  interrupts: "table" | "list" | undefined;
  /** Where new containers begin on it; before that are those of the line before it. */
  margin: number;
}

interface MarkedText {
  lines: MarkedLine[];
  /** A line that closes the fence which is open at the end. */
  closing: string | undefined;
}

type Container = { kind: "quote" } | { kind: "item"; width: number };
type Leaf = "none" | "paragraph" | "table" | "fence" | "html";

/** Nesting up to which containers are followed, as in split-blocks.ts; deeper markers are text. */
const DEEPEST = 64;

/**
 * What every line of a Markdown text is, by CommonMark's block structure and GFM's tables, in one pass over the lines:
 * a card is rendered at every update, and 20,000 characters take 1 ms here (2 cores). `html: false` knows no HTML
 * blocks, for renderers that show their tags as text. Where CommonMark's corner cases would need look-ahead, a line is
 * taken for what leaves it alone.
 */
export function markedLines(text: string, { html }: { html: boolean }): MarkedText {
  const marker = new Marker(text, html);
  for (const line of linesOf(text)) marker.take(line);
  return { lines: marker.lines, closing: marker.closing() };
}

class Marker {
  readonly lines: MarkedLine[] = [];
  readonly #text: string;
  readonly #html: boolean;
  #containers: Container[] = [];
  #leaf: Leaf = "none";
  /** Fence, raw HTML: whether this line ends it. */
  #ends: ((line: string) => boolean) | undefined;
  #fence = "";

  constructor(text: string, html: boolean) {
    this.#text = text;
    this.#html = html;
  }

  closing(): string | undefined {
    return this.#leaf === "fence" ? this.#fence : undefined;
  }

  take(line: Line): void {
    const cursor = new LineCursor(this.#text, line);
    const matched = this.#matched(cursor);
    const all = matched === this.#containers.length;
    const margin = cursor.at;
    const { columns: indentation, content } = cursor.indentation();
    const add = this.#adder(line, margin);
    if (all && (this.#leaf === "fence" || this.#leaf === "html")) {
      if (this.#inside(line, { content, indentation }, add)) return;
    }
    if (content >= line.end) {
      this.#containers.length = matched;
      this.#leaf = "none";
      add("blank", content);
      return;
    }

    const paragraph = this.#leaf === "paragraph";
    const opened = this.#opened(cursor, line, all && paragraph, matched);
    const { columns, content: begin } = cursor.indentation();
    const rest = this.#text.slice(begin, line.end);
    const leaf = columns < 4 && rest !== "" ? leafAt(rest, paragraph, this.#html) : undefined;
    if (paragraph && !all && opened.length === 0 && leaf === undefined) {
      add("text", begin, { continues: true, lazy: true });
      return;
    }
    const inList = this.#containers.slice(0, matched).some(({ kind }) => kind === "item");
    const interrupts = all && paragraph && opened[0]?.kind === "item" && !inList ? "list" : undefined;
    if (!all || opened.length > 0) this.#leaf = "none";
    this.#containers = [...this.#containers.slice(0, matched), ...opened];
    this.#leafLine(line, { begin, rest, columns, leaf, interrupts, add });
  }

  #matched(cursor: LineCursor): number {
    let matched = 0;
    for (const container of this.#containers) {
      const { columns, content } = cursor.indentation();
      if (container.kind === "quote") {
        if (columns > 3 || this.#text[content] !== ">") return matched;
        cursor.eatMarker(1);
        cursor.eatColumns(1);
      } else {
        const blank = content >= this.#text.length || /[\r\n]/.test(this.#text[content] ?? "");
        if (columns < container.width && !blank) return matched;
        cursor.eatColumns(container.width);
      }
      matched += 1;
    }
    return matched;
  }

  /** The quotes and list items that begin on this line. */
  #opened(cursor: LineCursor, line: Line, interrupting: boolean, depth: number): Container[] {
    const opened: Container[] = [];
    while (depth + opened.length < DEEPEST) {
      const { columns, content } = cursor.indentation();
      if (columns > 3 || content >= line.end) break;
      if (this.#text[content] === ">") {
        cursor.eatMarker(1);
        cursor.eatColumns(1);
        opened.push({ kind: "quote" });
        continue;
      }
      const marker = listMarkerAt(this.#text, content, line.end);
      if (!marker || (interrupting && opened.length === 0 && !marker.mayInterrupt)) break;
      cursor.eatMarker(marker.length);
      const after = cursor.indentation();
      const space = after.content >= line.end || after.columns > 4 ? 1 : after.columns;
      cursor.eatColumns(space);
      opened.push({ kind: "item", width: columns + marker.length + space });
    }
    return opened;
  }

  /** A line of a fence or of HTML; false when it is neither any longer. */
  #inside(line: Line, { content, indentation }: { content: number; indentation: number }, add: Adder): boolean {
    const html = this.#leaf === "html";
    const rest = this.#text.slice(content, line.end);
    if (html && this.#ends === undefined && rest === "") return false;
    const ends = (html || indentation < 4) && (this.#ends?.(rest) ?? false);
    add(html ? "html" : ends ? "fence" : "code", content);
    if (ends) this.#leaf = "none";
    return true;
  }

  #leafLine(line: Line, { begin, rest, columns, leaf, interrupts, add }: LeafLine): void {
    const paragraph = this.#leaf === "paragraph";
    const previous = this.lines.at(-1);
    if (rest === "") {
      this.#leaf = "none";
      add("blank", begin, { interrupts });
    } else if (paragraph && columns < 4 && isTableHead(this.#text, previous, rest)) {
      previous.kind = "table";
      if (previous.continues) previous.interrupts = "table";
      previous.continues = false;
      this.#leaf = "table";
      add("table", begin, { continues: true });
    } else if (paragraph && columns < 4 && isSetext(rest)) {
      this.#underline();
      add("heading", begin);
    } else if (leaf) {
      this.#begin(leaf, line, begin, add, interrupts);
    } else if (this.#leaf === "table") {
      add("table", begin, { continues: true });
    } else if (columns > 3 && !paragraph) {
      this.#leaf = "none";
      add("code", begin, { interrupts });
    } else if (!paragraph && columns < 4 && /^\[[^\]]{1,999}\]:/.test(rest)) {
      this.#leaf = "none";
      add("definition", begin, { interrupts });
    } else {
      this.#leaf = "paragraph";
      add("text", begin, { continues: paragraph, interrupts });
    }
  }

  #begin(leaf: LeafStart, line: Line, begin: number, add: Adder, interrupts: MarkedLine["interrupts"]): void {
    this.#leaf = leaf.open ?? "none";
    this.#ends = leaf.ends;
    if (leaf.kind === "fence") {
      const prefix = this.#text.slice(line.start, begin).replace(/[^\s>]/g, " ");
      this.#fence = prefix + leaf.fence;
    }
    add(leaf.kind, begin, { interrupts });
  }

  /** A paragraph turns out to be a heading. */
  #underline(): void {
    for (let index = this.lines.length - 1; index >= 0; index -= 1) {
      const line = this.lines[index];
      if (!line) break;
      line.kind = "heading";
      if (!line.continues) break;
    }
    this.#leaf = "none";
  }

  #adder(line: Line, margin: number): Adder {
    return (kind, content, more = {}) => {
      this.lines.push({
        ...line,
        kind,
        content,
        margin,
        continues: false,
        lazy: false,
        interrupts: undefined,
        ...more,
      });
    };
  }
}

type Adder = (
  kind: LineKind,
  content: number,
  more?: Partial<Pick<MarkedLine, "continues" | "lazy" | "interrupts">>,
) => void;

interface LeafLine {
  begin: number;
  rest: string;
  columns: number;
  leaf: LeafStart | undefined;
  interrupts: MarkedLine["interrupts"];
  add: Adder;
}

function isTableHead(text: string, previous: MarkedLine | undefined, rest: string): previous is MarkedLine {
  if (!previous || previous.lazy || !isDelimiterRow(rest)) return false;
  return cellsOf(text.slice(previous.content, previous.end)) === cellsOf(rest);
}
