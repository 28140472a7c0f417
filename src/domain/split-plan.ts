import type { Level } from "./split-margin.ts";

/**
 * How a text may be cut. A seam is a cut that the structure offers; a region is a stretch of running text in which the
 * cut is looked for only when it is needed. Both are in order of the text, and no seam lies inside a region.
 *
 * `close` is written at the end of the part before the cut (a closing fence), `open` at the beginning of the part after
 * it (an opening fence, a table's header, quote markers): the furniture. All else in a part is a slice of the source.
 */
export interface Plan {
  start: number;
  end: number;
  /** Furniture at the very end: the closing fence of an unclosed one. */
  close: string;
  seams: Seam[];
  regions: Region[];
}

export interface Seam extends Entrance {
  end: number;
  close: string;
  /** To be cut only if nothing else is possible: after a heading. */
  kept: boolean;
}

/** How a part begins. */
export interface Entrance {
  next: number;
  open: string;
  dedent: readonly Level[] | undefined;
}

/** plain: no Markdown. prose: a paragraph. cell: one line of prose. code: nothing is trimmed. */
export type RegionStyle = "plain" | "prose" | "cell" | "code";

export interface Region {
  start: number;
  end: number;
  style: RegionStyle;
  open: string;
  close: string;
  /** Quote markers at the head of each of its lines. */
  quotes: number;
  dedent: readonly Level[] | undefined;
}
