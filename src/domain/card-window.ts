import { renderForCard } from "./card-text.ts";
import { RegionCutter } from "./split-cut.ts";
import { lineStart } from "./split-lines.ts";
import { planMarkdown } from "./split-markdown.ts";
import { Packer } from "./split-pack.ts";
import { BoundedParser } from "./split-parse.ts";
import type { Plan, Region, Seam } from "./split-plan.ts";
import { Ruler, jsonBytesOf, splitsPair } from "./split-ruler.ts";
import { sectionsOf } from "./split-sections.ts";

/**
 * What one card holds: characters, for a card with more than some 3,000 stays blank (dingtalk-protocol.md §4.3), of the
 * Markdown and, unless a larger limit is asked for, of what it is rendered to; and UTF-8 bytes of that inside JSON.
 */
export const CARD_LIMITS = { characters: 3_000, jsonBytes: 14_000 } as const;

/**
 * Cuts a text that is too long for one card behind the last block that fits; a paragraph, a fence or a table of more
 * than half a card is cut inside, opened again in the rest with its fence or header. `rest` is empty when the text fits;
 * else it is Markdown for `splitText`. Both are sources: rendering comes after. The cut depends on nothing but the first
 * `limit` + 2 characters.
 */
export function splitForCard(text: string, limit: number = CARD_LIMITS.characters): { head: string; rest: string } {
  const body = withoutBlankLines(text);
  const cut = cutOf(body, limit);
  return cut ? { head: headAt(body, cut), rest: restAt(body, cut) } : { head: body, rest: "" };
}

/**
 * What a card shows of an answer that is being written. It shows all of it until it is too long; then the head is
 * decided, once and for all, by the text's beginning alone: a window made later, or fed in other pieces, shows the same.
 */
export class CardWindow {
  readonly #limit: number;
  #last = "";
  #closed: { shown: string; said: string; cut: Cut } | undefined;

  constructor({ limit = CARD_LIMITS.characters }: { limit?: number } = {}) {
    this.#limit = limit;
  }

  /** Takes the whole text so far. `shown` is Markdown for `renderForCard`; it never changes after `closed`. */
  push(fullText: string): { shown: string; closed: boolean } {
    this.#last = fullText;
    const body = withoutBlankLines(fullText);
    const cut = this.#closed ? undefined : cutOf(body, this.#limit);
    if (cut) this.#closed = { shown: headAt(body, cut), said: body.slice(0, cut.next), cut };
    return this.#closed ? { shown: this.#closed.shown, closed: true } : { shown: body, closed: false };
  }

  /**
   * Takes the final text; an empty one stands for the last that was pushed. `shown` and `rest` say all of it once.
   * `replaced`: it is not what was streamed, so that the closed card has to be changed to `shown`; where that cannot be
   * done, the final text has to be sent anew.
   */
  finish(fullText: string): { shown: string; rest: string; replaced: boolean } {
    const body = withoutBlankLines(fullText.trim() === "" ? this.#last : fullText);
    const closed = this.#closed;
    if (closed && body.startsWith(closed.said)) {
      return { shown: closed.shown, rest: restAt(body, closed.cut), replaced: false };
    }
    const { head, rest } = splitForCard(body, this.#limit);
    return { shown: head, rest, replaced: closed !== undefined && closed.shown !== head };
  }
}

interface Cut extends Seam {
  /** How much of the text it was decided by. */
  seen: number;
}

/** Where a text that is too long is cut. */
function cutOf(text: string, limit: number): Cut | undefined {
  for (let reach = reachOf(text, limit); reach < text.length; reach = (reach * 3) >> 2) {
    const cut = cutWithin(text, Math.max(reach, 1));
    const shown = renderForCard(headAt(text, cut));
    const isShort = shown.length <= Math.max(limit, CARD_LIMITS.characters);
    if (reach <= 1 || (isShort && jsonBytesOf(shown) <= CARD_LIMITS.jsonBytes)) return cut;
  }
  return undefined;
}

/** How many characters a card takes of a text, by what rendering can make of them. */
function reachOf(text: string, limit: number): number {
  const surrogate = text.isWellFormed() ? 3 : 6;
  const most = Math.max(limit, CARD_LIMITS.characters);
  let bytes = 0;
  let characters = 0;
  for (let at = 0; at < text.length; at += 1) {
    bytes += rendered(text.charCodeAt(at), surrogate);
    characters += shownAs(text, at);
    if (at >= limit || characters > most || bytes > CARD_LIMITS.jsonBytes) return splitsPair(text, at) ? at - 1 : at;
  }
  return text.length;
}

/**
 * Characters that rendering can make of one: what a client shows blank is the rendered text. At the end of a text the
 * smallest, since nobody knows what follows; no cut is decided by more than that.
 */
function shownAs(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  if (unit === 0x3c) return "&lt;".length;
  if (unit === 0x7c) return 1 + besides(text[at - 1]) + besides(text[at + 1]);
  const isNewline = unit === 0x0a || (unit === 0x0d && text[at + 1] !== "\n");
  if (!isNewline) return 1;
  // Behind and before a blank line there is no break.
  const before = unit === 0x0a && text[at - 1] === "\r" ? text[at - 2] : text[at - 1];
  return endsLine(before) || endsLine(text[at + 1]) ? 1 : "<br>".length;
}

/** The space that a pipe gets on a side that has none. */
const besides = (neighbour: string | undefined): number => (neighbour === undefined || /\s/.test(neighbour) ? 0 : 1);

const endsLine = (unit: string | undefined): boolean => unit === undefined || unit === "\n" || unit === "\r";

/** JSON bytes that rendering can make of one UTF-16 unit: `<br>` of a newline, `&lt;` of `<`, spaces around a pipe. */
function rendered(unit: number, surrogate: number): number {
  if (unit === 0x0a || unit === 0x0d || unit === 0x3c) return 4;
  if (unit === 0x7c) return 3;
  if (unit === 0x22 || unit === 0x5c || unit === 0x09) return 2;
  if (unit < 0x20) return 6;
  if (unit < 0x80) return 1;
  if (unit < 0x800) return 2;
  return unit >= 0xd800 && unit < 0xe000 ? surrogate : 3;
}

function cutWithin(text: string, reach: number): Cut {
  const seen = splitsPair(text, reach + 1) ? reach + 2 : reach + 1;
  const probe = text.slice(0, seen);
  const parser = new BoundedParser();
  const ruler = new Ruler(probe, { characters: reach, jsonBytes: CARD_LIMITS.jsonBytes });
  const plan = planMarkdown(new HalfRuler(ruler, reach), parser);
  const half = plan.start + ((reach - plan.start) >> 1);
  const { ordinary, kept } = latestSeams(plan, ruler);
  if (ordinary && ordinary.end >= half) return { ...ordinary, seen };
  const inside = insideRegion(plan, ruler, { parser, half, after: ordinary?.end ?? plan.start });
  const cut = (inside && inside.end >= half ? inside : ordinary) ?? inside ?? kept ?? anywhere(plan, ruler, parser);
  return { ...cut, seen };
}

/**
 * Plans for half a card: a block of more than that offers cuts inside, so that a card is at least half full. What is
 * repeated around a cut is measured by a whole one.
 */
class HalfRuler extends Ruler {
  readonly #whole: Ruler;

  constructor(whole: Ruler, reach: number) {
    super(whole.source, { characters: reach >> 1, jsonBytes: CARD_LIMITS.jsonBytes >> 1 });
    this.#whole = whole;
  }

  override isSmall(furniture: string): boolean {
    return this.#whole.isSmall(furniture);
  }
}

function latestSeams({ start, seams }: Plan, ruler: Ruler): { ordinary: Seam | undefined; kept: Seam | undefined } {
  let ordinary: Seam | undefined;
  let kept: Seam | undefined;
  for (const seam of seams) {
    if (seam.end <= start || !ruler.fits(start, seam.end, "", seam.close)) continue;
    if (seam.kept) kept = seam;
    else ordinary = seam;
  }
  return { ordinary, kept };
}

function insideRegion(
  { start, regions }: Plan,
  ruler: Ruler,
  { parser, half, after }: { parser: BoundedParser; half: number; after: number },
): Seam | undefined {
  for (const region of regions.toReversed()) {
    if (region.end <= after) return undefined;
    const from = Math.max(region.start, start);
    const limit = Math.min(region.end, ruler.reach(start, "", region.close));
    const cut = limit > from ? new RegionCutter(ruler, region, parser).best({ from, half, limit }) : undefined;
    if (cut) return through(region, cut);
  }
  return undefined;
}

/** Nothing offers a cut. */
function anywhere({ start, end, regions }: Plan, ruler: Ruler, parser: BoundedParser): Seam {
  const whole: Region = { start, end, style: "code", open: "", close: "", quotes: 0, dedent: undefined };
  const region = regions.find((region) => region.start <= start) ?? whole;
  const limit = Math.min(region.end, ruler.reach(start, "", region.close));
  const half = start + ((limit - start) >> 1);
  return through(region, new RegionCutter(ruler, region, parser).forced({ from: start, half, limit }));
}

function through({ open, close, dedent }: Region, { end, next }: { end: number; next: number }): Seam {
  return { end, next, open, close, dedent, kept: false };
}

const headAt = (text: string, { end, close }: Cut): string => text.slice(0, end) + close;

/** What a text that begins like the one that was cut has behind the cut. */
function restAt(text: string, cut: Cut): string {
  const end = text.trimEnd().length;
  if (end <= cut.next) return "";
  const seam: Seam = { ...cut, dedent: extended(text, cut) };
  const plan: Plan = { start: 0, end, close: "", seams: [seam], regions: [] };
  return new Packer(plan, new TwoParts(text, seam), new BoundedParser()).parts().slice(1).join("");
}

/** List items and quotes that were open where the cut was decided may go on: to the end of the outermost at most. */
function extended(text: string, { next, seen, dedent }: Cut): Seam["dedent"] {
  if (!dedent) return undefined;
  const open = text.slice(0, seen).trimEnd().length;
  const until = sectionsOf(text).find(({ end }) => end > next)?.end ?? text.length;
  const ordered = /^(?:\r\n|\n|\r)[ \t>]*\d{1,9}[.)][ \t]/.test(text.slice(until, until + 200));
  const newline = text.includes("\r\n") ? "\r\n" : "\n";
  return dedent.map((level) => {
    if (level.until < open) return level;
    return { ...level, until, gap: ordered ? newline + ">".repeat(level.quotes) : "" };
  });
}

/** Lets the packer cut at one seam and nowhere else. */
class TwoParts extends Ruler {
  readonly #seam: Seam;

  constructor(text: string, seam: Seam) {
    super(text, { characters: Infinity, jsonBytes: Infinity });
    this.#seam = seam;
  }

  override fits(start: number, end: number): boolean {
    return end <= this.#seam.end || start >= this.#seam.next;
  }

  override reach(): number {
    return this.#seam.end;
  }
}

/** White space lines before a text are nothing to show. */
function withoutBlankLines(text: string): string {
  const first = text.search(/\S/);
  return first < 0 ? "" : text.slice(lineStart(text, first));
}
