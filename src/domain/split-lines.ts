/** Offsets of one line: `end` is before the line ending, `next` after it. */
export interface Line {
  start: number;
  end: number;
  next: number;
}

/** The lines of `text` between two offsets; CR, LF and CRLF end a line, as in CommonMark. */
export function* linesOf(text: string, start = 0, stop = text.length): Generator<Line> {
  const ending = /\r\n|\n|\r/g;
  let from = start;
  while (from < stop) {
    ending.lastIndex = from;
    const match = ending.exec(text);
    if (match === null || match.index >= stop) {
      yield { start: from, end: stop, next: stop };
      return;
    }
    const next = match.index + match[0].length;
    yield { start: from, end: match.index, next };
    from = next;
  }
}

/** Where the line that holds `at` begins. */
export function lineStart(text: string, at: number): number {
  let start = at;
  while (start > 0 && !isLineEnding(text.charCodeAt(start - 1))) start -= 1;
  return start;
}

/** Where the line that holds `at` ends, before its line ending. */
export function lineEnd(text: string, at: number): number {
  let end = at;
  while (end < text.length && !isLineEnding(text.charCodeAt(end))) end += 1;
  return end;
}

export const isLineEnding = (unit: number): boolean => unit === 10 || unit === 13;

/** The width of leading white space in columns; a tab goes to the next multiple of four. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) {
    if (character === "\t") columns += 4 - (columns % 4);
    else columns += 1;
  }
  return columns;
}
