import { type BoundedParser, type Range, addressesIn } from "./split-parse.ts";
import type { Region } from "./split-plan.ts";
import { type Ruler, splitsPair } from "./split-ruler.ts";

export interface Cut {
  /** End of the part before it. */
  end: number;
  /** Beginning of the part after it. */
  next: number;
}

/** Where to look: not before `from`, not behind `limit`, and behind `half` if possible. */
export interface CutRequest {
  from: number;
  half: number;
  limit: number;
}

/** Characters behind the limit that segmentation may look at. */
const LOOKAHEAD = 64;

// "zh" only pins what would follow the machine's language; ICU finds Chinese and Japanese words by dictionary everywhere.
const GRAPHEMES = new Intl.Segmenter("zh", { granularity: "grapheme" });
const WORDS = new Intl.Segmenter("zh", { granularity: "word" });
const SENTENCES = new Intl.Segmenter("zh", { granularity: "sentence" });

/** What would be read as a heading, list, quote, fence, table, rule, HTML or definition at the beginning of a part. */
const BLOCK_START =
  /^(?:#{1,6}(?:\s|$)|[-+*](?:\s|$)|\d{1,9}[.)](?:\s|$)|>|`{3}|~{3}|\||<[a-z/!?]|\[[^\]]{0,99}\]:|(?:(?:-[ \t]*){2,}|(?:=[ \t]*)+|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})(?:[\r\n]|$))/i;

/** Looks for cuts in one region. */
export class RegionCutter {
  readonly #ruler: Ruler;
  readonly #region: Region;
  readonly #parser: BoundedParser;

  constructor(ruler: Ruler, region: Region, parser: BoundedParser) {
    this.#ruler = ruler;
    this.#region = region;
    this.#parser = parser;
  }

  /**
   * The best cut: the latest line, else sentence, else word, else grapheme end in the second half, outside links, code
   * and emphasis; else the latest such end at all. Undefined when there is none.
   */
  best(request: CutRequest): Cut | undefined {
    const window = this.#window(request);
    const kinds = KINDS[this.#region.style];
    for (const earliest of [Math.max(request.half, request.from), request.from]) {
      for (const kind of kinds) {
        const cut = window.latest(kind, earliest);
        if (cut) return cut;
      }
    }
    return undefined;
  }

  /** A cut at any cost: inside a link, at last inside a grapheme, never inside a surrogate pair. Always progresses. */
  forced(request: CutRequest): Cut {
    const window = this.#window(request, []);
    return window.latest("word", request.half) ?? window.latest("grapheme", request.from) ?? this.#anywhere(request);
  }

  #anywhere({ from, limit }: CutRequest): Cut {
    const { source } = this.#ruler;
    let at = Math.max(limit, from + 1);
    if (splitsPair(source, at)) at += at - 1 > from ? -1 : 1;
    return { end: at, next: at };
  }

  #window({ from, limit }: CutRequest, kept?: Range[]): Window {
    const { source } = this.#ruler;
    const { style, quotes, end, open, close } = this.#region;
    const text = source.slice(from, Math.min(end, limit + LOOKAHEAD));
    let ranges = kept ?? [];
    if (!kept && (style === "prose" || style === "cell" || style === "plain")) {
      const fits = (range: Range): boolean => this.#ruler.fits(from + range.start, from + range.end, open, close);
      // A construct that fits a part and begins before the limit ends within twice the distance.
      const wide = source.slice(from, Math.min(end, from + 2 * (limit - from) + LOOKAHEAD));
      ranges = style === "plain" ? addressesIn(wide) : this.#parser.inline(wide, fits);
      ranges = ranges.filter((range) => fits(range));
    }
    return new Window(text, { offset: from, limit, end, style, quotes, ranges });
  }
}

type Kind = "blank" | "line" | "sentence" | "word" | "grapheme";

const KINDS: Record<Region["style"], readonly Kind[]> = {
  plain: ["blank", "line", "sentence", "word", "grapheme"],
  prose: ["line", "sentence", "word", "grapheme"],
  cell: ["sentence", "word", "grapheme"],
  code: ["word", "grapheme"],
};

interface WindowOptions {
  offset: number;
  limit: number;
  /** Of the region: a cut leaves something behind it. */
  end: number;
  style: Region["style"];
  quotes: number;
  ranges: Range[];
}

/** The text around a limit. Offsets inside are relative to it; cuts are given in offsets of the source. */
class Window {
  readonly #text: string;
  readonly #options: WindowOptions;
  readonly #limit: number;
  readonly #graphemes: Intl.Segments;
  readonly #breaks: Range[];

  constructor(text: string, options: WindowOptions) {
    this.#text = text;
    this.#options = options;
    this.#limit = Math.min(options.limit - options.offset, text.length);
    this.#graphemes = GRAPHEMES.segment(text);
    this.#breaks = options.style === "code" ? [] : breaksOf(text, options.quotes, options.style === "plain");
  }

  latest(kind: Kind, earliest: number): Cut | undefined {
    const first = earliest - this.#options.offset;
    for (const at of this.#candidates(kind, Math.max(first, 1))) {
      const cut = this.#cutAt(at, first);
      if (cut) return { end: cut.end + this.#options.offset, next: cut.next + this.#options.offset };
    }
    return undefined;
  }

  /** Offsets of one kind from the limit down to `first`. */
  *#candidates(kind: Kind, first: number): Generator<number> {
    switch (kind) {
      case "blank":
      case "line":
        for (const { start, end } of this.#breaks.toReversed()) {
          if (start < first) return;
          if (start <= this.#limit && (kind === "line" || isBlankBetween(this.#text.slice(start, end)))) yield start;
        }
        return;
      case "sentence":
        yield* this.#segmentEnds(SENTENCES, 0, first);
        return;
      case "word":
        // Segmenting the last characters is enough almost always; the first word may be half a one.
        yield* this.#segmentEnds(WORDS, Math.max(0, this.#limit - 200), Math.max(first, this.#limit - 150));
        yield* this.#segmentEnds(WORDS, 0, first);
        return;
      case "grapheme":
        for (let at = this.#limit; at >= first;) {
          const range = this.#rangeAround(at);
          const cluster = this.#graphemes.containing(at)?.index ?? this.#text.length;
          if (range) at = range.start;
          else if (cluster < at) at = cluster;
          else {
            yield at;
            at -= 1;
          }
        }
    }
  }

  *#segmentEnds(segmenter: Intl.Segmenter, from: number, first: number): Generator<number> {
    const start = splitsPair(this.#text, from) ? from - 1 : from;
    const ends: number[] = [];
    for (const { index, segment } of segmenter.segment(this.#text.slice(start))) {
      const end = start + index + segment.length;
      if (end > this.#limit) break;
      if (end >= first) ends.push(end);
    }
    yield* ends.reverse();
  }

  /** The cut at an offset, white space and quote markers around it left out; undefined where none may be. */
  #cutAt(at: number, first: number): Cut | undefined {
    const { style, offset } = this.#options;
    const text = this.#text;
    let end = at;
    let next = at;
    if (style !== "code") {
      const ending = this.#breakAround(at);
      if (ending) ({ start: end, end: next } = ending);
      else while (next < text.length && isSpace(text.charCodeAt(next))) next += 1;
      while (end > 0 && isSpace(text.charCodeAt(end - 1))) end -= 1;
    }
    // At the end of the window the text goes on unless the region ends there too.
    if (end <= 0 || end < first || next >= text.length || offset + next >= this.#options.end) return undefined;
    if (this.#rangeAround(at) || this.#graphemes.containing(at)?.index !== at) return undefined;
    if (style === "prose" && BLOCK_START.test(text.slice(next, next + 120))) return undefined;
    if (style === "code" && /^(?:`{3}|~{3})/.test(text.slice(next, next + 3))) return undefined;
    return { end, next };
  }

  #rangeAround(at: number): Range | undefined {
    return this.#options.ranges.find(({ start, end }) => start < at && at < end);
  }

  #breakAround(at: number): Range | undefined {
    return this.#breaks.find(({ start, end }) => start <= at && at <= end);
  }
}

const isSpace = (unit: number): boolean => unit === 32 || unit === 9;

const isBlankBetween = (ending: string): boolean => /(?:\r\n|\n|\r)[ \t]*[\r\n]/.test(ending);

/** Line endings with the white space and quote markers around them; in plain text the next line keeps its indentation. */
function breaksOf(text: string, quotes: number, plain: boolean): Range[] {
  const pattern = plain
    ? /[ \t]*(?:\r\n|\n|\r)(?:[ \t]*(?:\r\n|\n|\r))*/g
    : new RegExp(`[ \\t]*(?:(?:\\r\\n|\\n|\\r)[ \\t]*(?:>[ \\t]*){0,${quotes}})+`, "g");
  return [...text.matchAll(pattern)].map((match) => ({ start: match.index, end: match.index + match[0].length }));
}
