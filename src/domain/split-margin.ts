import { columnsOf } from "./split-lines.ts";

/**
 * A part that begins inside a list item has no marker before it, so what was the item's indentation would now make
 * code of its lines, and of a quote in it. A margin says how lines are moved to the left: for each container, from the
 * innermost to the outermost, up to which offset it goes and what its lines begin with.
 */
export interface Level {
  until: number;
  /** Quote markers its lines begin with. */
  quotes: number;
  /** Columns of white space behind them. */
  columns: number;
  /** One of these quotes stands in a list item: there may be indentation before its marker. */
  inItem: boolean;
  /**
   * Written where it ends: a blank line if an ordered item follows, which cannot interrupt a paragraph, and the part
   * may have begun in one. Else empty.
   */
  gap: string;
}

/** From this width on, indentation is code. */
const CODE_WIDTH = 4;

/**
 * The levels a part that begins in such containers needs, or undefined when its lines can stay as they are. `columns`
 * is the indentation it begins with, if that is not the container's.
 */
export function dedentOf([inner, ...outer]: readonly Level[], columns = inner?.columns ?? 0): Level[] | undefined {
  if (!inner) return undefined;
  const levels = [{ ...inner, columns }, ...outer];
  return levels.some((level) => level.columns >= CODE_WIDTH || level.inItem || level.gap !== "") ? levels : undefined;
}

/** All that may be written between the slices of a part that begins in such containers. */
export function gapsOf(levels: readonly Level[] | undefined): string {
  return levels?.map(({ gap }) => gap).join("") ?? "";
}

/** Columns of white space a line has behind its first so many quote markers. */
export function indentationOf(line: string, quotes: number): number {
  const head = line.slice(0, 400);
  const markers = new RegExp(`^(?:[ \\t]*>[ \\t]?){0,${quotes}}`).exec(head)?.[0] ?? "";
  return columnsOf(/^[ \t]*/.exec(head.slice(markers.length))?.[0] ?? "");
}

/** Takes the margin of one level from every line. Never makes a line longer: its length was measured before. */
export function dedented(text: string, { quotes, columns, inItem }: Level): string {
  if (columns < CODE_WIDTH && !inItem) return text;
  const pattern = new RegExp(`(\\r\\n|\\n|\\r|^)((?:[ \\t]*>[ \\t]?){0,${quotes}})([ \\t]*)`, "g");
  return text.replace(pattern, (_, ending: string, markers: string, space: string) => {
    const bare = inItem ? markers.replace(/[ \t]*>([ \t]?)/g, ">$1") : markers;
    return ending + bare + (columns < CODE_WIDTH ? space : withoutColumns(space, columns));
  });
}

function withoutColumns(space: string, columns: number): string {
  let at = 0;
  for (let column = 0; at < space.length && column < columns; at += 1) {
    column += space[at] === "\t" ? 4 - (column % 4) : 1;
  }
  return space.slice(at);
}
