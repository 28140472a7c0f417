import type { Line } from "./split-lines.ts";

/** Reads the containers at the head of one line: columns count, not characters, for tabs go to the next multiple of four. */
export class LineCursor {
  readonly #text: string;
  readonly #end: number;
  #at: number;
  #column = 0;
  /** Columns of a tab that was eaten in part. */
  #spare = 0;

  constructor(text: string, line: Line) {
    this.#text = text;
    this.#at = line.start;
    this.#end = line.end;
  }

  get at(): number {
    return this.#at;
  }

  /** Columns of white space here, and where what follows it begins. */
  indentation(): { columns: number; content: number } {
    let columns = this.#spare;
    let content = this.#at;
    for (; content < this.#end; content += 1) {
      const unit = this.#text.charCodeAt(content);
      if (unit === TAB) columns += tabAt(this.#column + columns - this.#spare);
      else if (unit === SPACE) columns += 1;
      else break;
    }
    return { columns, content };
  }

  /** Eats so many columns of white space, or what there is of them. */
  eatColumns(wanted: number): void {
    let left = wanted;
    const spare = Math.min(this.#spare, left);
    this.#spare -= spare;
    left -= spare;
    while (left > 0 && this.#at < this.#end) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit !== TAB && unit !== SPACE) return;
      const width = unit === TAB ? tabAt(this.#column) : 1;
      this.#at += 1;
      this.#column += width;
      this.#spare = Math.max(0, width - left);
      left -= Math.min(width, left);
    }
  }

  /** Eats the white space and so many characters behind it. */
  eatMarker(length: number): void {
    const { columns, content } = this.indentation();
    this.#column += columns - this.#spare + length;
    this.#spare = 0;
    this.#at = content + length;
  }
}

const TAB = 9;
const SPACE = 32;

const tabAt = (column: number): number => 4 - (column % 4);
