import { linesOf, lineStart } from "./split-lines.ts";
import { dedentOf, gapsOf, indentationOf, type Level } from "./split-margin.ts";
import type { Plan, Region, RegionStyle, Seam } from "./split-plan.ts";
import type { Ruler } from "./split-ruler.ts";

/** The containers around a block. */
export interface Context {
  /** Quote markers before its lines. */
  quotes: number;
  /** Columns that list items inside the innermost quote indent it by. */
  columns: number;
  /** The list items around it, and the quotes in them; innermost first. */
  levels: readonly Level[];
  depth: number;
}

export const OUTSIDE: Context = { quotes: 0, columns: 0, levels: [], depth: 0 };

/** A block with its place in the source, seen from its siblings. */
export interface Block {
  start: number;
  end: number;
  heading: boolean;
  /** Indented code: its indentation is its syntax. */
  indented?: boolean;
}

/** What is repeated around a cut inside a block, as whole lines or nothing. */
export interface Furniture {
  open: string;
  close: string;
}

/** Collects seams and regions, from the beginning of the source to its end. */
export class Planner {
  readonly ruler: Ruler;
  readonly source: string;
  readonly newline: string;
  readonly plan: Plan;

  constructor(ruler: Ruler, start: number, end: number) {
    this.ruler = ruler;
    this.source = ruler.source;
    this.newline = ruler.source.includes("\r\n") ? "\r\n" : "\n";
    this.plan = { start, end, close: "", seams: [], regions: [] };
  }

  /** Whether a block fits a part of its own, with what is before it on its line. */
  fits({ start, end }: { start: number; end: number }, { levels }: Context, close = ""): boolean {
    return this.ruler.fits(lineStart(this.source, start), end, gapsOf(levels), close);
  }

  /** Seams between siblings; `inside` plans each of them in its turn. A heading stays with what follows if both fit. */
  siblings<T extends Block>(blocks: readonly T[], context: Context, inside: (block: T) => void): void {
    let run: Block | undefined;
    let previous: T | undefined;
    for (const block of blocks) {
      if (previous) {
        const kept =
          run !== undefined && (this.fits({ start: run.start, end: block.end }, context) || !this.fits(block, context));
        this.#seamBefore(block, previous.end, context, kept);
      }
      inside(block);
      run = block.heading ? (run ?? block) : undefined;
      previous = block;
    }
  }

  #seamBefore(block: Block, end: number, context: Context, kept: boolean): void {
    const next = lineStart(this.source, block.start);
    const line = this.source.slice(next, block.start);
    const columns = block.indented === true ? context.columns : indentationOf(line, context.quotes);
    this.plan.seams.push({ end, next, open: "", close: "", kept, dedent: dedentOf(context.levels, columns) });
  }

  /** Running text: cut wherever the need is. */
  prose(start: number, end: number, context: Context): void {
    this.region({ start, end, style: "prose", open: "> ".repeat(context.quotes), close: "" }, context);
  }

  region(
    region: { start: number; end: number; style: RegionStyle; open: string; close: string },
    context: Context,
    columns = context.columns,
  ): void {
    const furnished: Region = {
      ...region,
      quotes: context.quotes,
      dedent: dedentOf(context.levels, columns),
    };
    this.plan.regions.push(this.ruler.isSmall(region.open + region.close) ? furnished : bare(furnished));
  }

  /** A seam inside a block; none where the furniture would take more than half of a part. */
  seam(
    seam: { end: number; next: number; open: string; close: string },
    context: Context,
    columns = context.columns,
  ): void {
    if (!this.ruler.isSmall(seam.open + seam.close)) return;
    this.plan.seams.push({ ...seam, kept: false, dedent: dedentOf(context.levels, columns) });
  }

  /** A seam after each line from `start` on, the furniture repeated; a line that is too long becomes regions. */
  lines(
    start: number,
    end: number,
    options: Furniture & { context: Context; columns?: number; long: (line: { start: number; end: number }) => void },
  ): void {
    const { context, columns = context.columns, long } = options;
    const { open, close } = this.ruler.isSmall(options.open + options.close) ? options : { open: "", close: "" };
    const dedent = dedentOf(context.levels, columns);
    let previous: number | undefined;
    for (const line of linesOf(this.source, start, end)) {
      if (previous !== undefined) {
        const seam: Seam = { end: previous, next: line.start, open, close, kept: false, dedent };
        this.plan.seams.push(seam);
      }
      if (!this.ruler.fits(line.start, line.end, open + gapsOf(dedent), close)) long(line);
      previous = line.end;
    }
  }

  /** What stands before a block on its first line, as it must be on the lines after it: markers become spaces. */
  prefixOf(start: number): string {
    return this.source.slice(lineStart(this.source, start), start).replace(/[^\s>]/g, " ");
  }
}

const bare = (region: Region): Region => ({ ...region, open: "", close: "" });
