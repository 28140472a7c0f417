import { RegionCutter } from "./split-cut.ts";
import { dedented, gapsOf } from "./split-margin.ts";
import type { BoundedParser } from "./split-parse.ts";
import type { Entrance, Plan, Region, Seam } from "./split-plan.ts";
import type { Ruler } from "./split-ruler.ts";

interface Exit {
  end: number;
  close: string;
  entrance: Entrance;
}

/** Longer white space at the head of a part is left out: it could fill parts of its own. */
const LONGEST_INDENTATION = 200;

/** Fills parts one after the other, each as far as its best cut. Time is linear in the text. */
export class Packer {
  readonly #plan: Plan;
  readonly #ruler: Ruler;
  readonly #parser: BoundedParser;
  #seam = 0;
  #region = 0;

  constructor(plan: Plan, ruler: Ruler, parser: BoundedParser) {
    this.#plan = plan;
    this.#ruler = ruler;
    this.#parser = parser;
  }

  parts(): string[] {
    const plan = this.#plan;
    const parts: string[] = [];
    let at: Entrance = { next: plan.start, open: "", dedent: undefined };
    for (;;) {
      at = this.#withoutIndentation(at);
      // The second condition holds first whenever limits leave room for furniture; the first makes an end certain.
      if (at.next >= plan.end || this.#ruler.fits(at.next, plan.end, headOf(at), plan.close)) {
        parts.push(this.#text(at, plan.end, plan.close));
        return parts;
      }
      const exit = this.#exit(at);
      parts.push(this.#text(at, exit.end, exit.close));
      at = exit.entrance;
    }
  }

  /** The cut that ends the part that begins at `at`. */
  #exit(at: Entrance): Exit {
    const limit = this.#ruler.reach(at.next, headOf(at), "");
    const half = at.next + ((limit - at.next) >> 1);
    const { ordinary, kept } = this.#latestSeams(at, limit);
    if (ordinary && ordinary.end >= half) return leave(ordinary);

    const inRegion = this.#inRegions(at, { limit, half, after: ordinary?.end ?? at.next });
    if (inRegion && inRegion.end >= half) return inRegion;
    if (ordinary) return leave(ordinary);
    if (inRegion) return inRegion;
    if (kept) return leave(kept);
    return this.#forced(at);
  }

  #latestSeams(at: Entrance, limit: number): { ordinary: Seam | undefined; kept: Seam | undefined } {
    const { seams } = this.#plan;
    while ((seams[this.#seam]?.next ?? Infinity) <= at.next) this.#seam += 1;
    let ordinary: Seam | undefined;
    let kept: Seam | undefined;
    for (let index = this.#seam; ; index += 1) {
      const seam = seams[index];
      if (!seam || seam.end > limit) return { ordinary, kept };
      if (seam.end <= at.next || !this.#ruler.fits(at.next, seam.end, headOf(at), seam.close)) continue;
      if (seam.kept) kept = seam;
      else ordinary = seam;
    }
  }

  /** The last cut in the regions that begin before the limit and end after the last seam. */
  #inRegions(at: Entrance, { limit, half, after }: { limit: number; half: number; after: number }): Exit | undefined {
    const { regions } = this.#plan;
    while ((regions[this.#region]?.end ?? Infinity) <= at.next) this.#region += 1;
    let last = this.#region;
    while ((regions[last]?.start ?? Infinity) < limit) last += 1;
    for (let index = last - 1; index >= this.#region; index -= 1) {
      const region = regions[index];
      if (!region || region.end <= after) return undefined;
      const exit = this.#inRegion(at, region, half);
      if (exit) return exit;
    }
    return undefined;
  }

  #inRegion(at: Entrance, region: Region, half: number): Exit | undefined {
    const from = Math.max(region.start, at.next);
    const limit = Math.min(region.end, this.#ruler.reach(at.next, headOf(at), region.close));
    if (limit <= from) return undefined;
    const cut = new RegionCutter(this.#ruler, region, this.#parser).best({ from, half, limit });
    return cut && through(region, cut);
  }

  /** Nothing offers a cut: in a region it is made anyway; else the rest of the text is cut as if it had no structure. */
  #forced(at: Entrance): Exit {
    const region = this.#plan.regions[this.#region];
    const inside = region !== undefined && region.start <= at.next && at.next < region.end;
    const within: Region = inside
      ? region
      : { start: at.next, end: this.#plan.end, style: "code", open: "", close: "", quotes: 0, dedent: undefined };
    const limit = Math.min(within.end, this.#ruler.reach(at.next, headOf(at), within.close));
    const half = at.next + ((limit - at.next) >> 1);
    const cut = new RegionCutter(this.#ruler, within, this.#parser).forced({ from: at.next, half, limit });
    return through(within, cut);
  }

  #withoutIndentation(at: Entrance): Entrance {
    const { source } = this.#ruler;
    let next = at.next;
    while (next < this.#plan.end && (source[next] === " " || source[next] === "\t")) next += 1;
    return next - at.next > LONGEST_INDENTATION ? { ...at, next } : at;
  }

  #text({ next, open, dedent }: Entrance, end: number, close: string): string {
    const { source } = this.#ruler;
    let text = "";
    let head = open;
    let at = next;
    for (const [index, level] of (dedent ?? []).entries()) {
      const stop = Math.min(end, level.until);
      const last = stop === end;
      text += dedented(head + source.slice(at, stop) + (last ? close : ""), level);
      if (last) return text;
      // Of containers that end together the outermost knows what follows.
      if (dedent?.[index + 1]?.until !== stop) text += level.gap;
      head = "";
      at = stop;
    }
    return text + head + source.slice(at, end) + close;
  }
}

/** All that a part which begins so may have besides its slice, but for the end. */
function headOf({ open, dedent }: Entrance): string {
  return open + gapsOf(dedent);
}

function leave(seam: Seam): Exit {
  return { end: seam.end, close: seam.close, entrance: seam };
}

function through({ open, close, dedent }: Region, { end, next }: { end: number; next: number }): Exit {
  return { end, close, entrance: { next, open, dedent } };
}
