import { lineStart } from "./split-lines.ts";
import { planMarkdown } from "./split-markdown.ts";
import { Packer } from "./split-pack.ts";
import { BoundedParser } from "./split-parse.ts";
import type { Plan } from "./split-plan.ts";
import { type PartLimits, Ruler, jsonBytesOf } from "./split-ruler.ts";

/** Limits of one part, safe on every route (dingtalk-protocol.md §3.2, §3.5; design §7). */
export const PART_LIMITS: PartLimits = { characters: 3_500, jsonBytes: 14_000 };

export interface TextPart {
  title: string;
  text: string;
}

export interface SplitOptions {
  title: string;
  format: "text" | "markdown";
  limits?: PartLimits;
}

const TITLE_LENGTH = 40;
/** Characters of a line that a title is looked for in: 40 graphemes of any length that occurs. */
const TITLE_LINE = 1_000;
const JSON_FRAME = Buffer.byteLength(JSON.stringify({ title: "", text: "" }));

const GRAPHEMES = new Intl.Segmenter("zh", { granularity: "grapheme" });

/** First line without markup, at most 40 graphemes: what a chat list shows. Never empty. */
export function titleOf(text: string): string {
  for (const [line] of text.matchAll(/[^\r\n]+/g)) {
    const plain = line
      .slice(0, TITLE_LINE)
      .replace(/[\uD800-\uDBFF]$/, "")
      .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
      .replace(/^[\s#>*+\-=`~|\d.]+/, "")
      .replace(/[*_`~|]/g, "")
      .trim();
    if (plain !== "") return firstGraphemes(plain, { graphemes: TITLE_LENGTH });
  }
  return "…";
}

/**
 * Splits a text into parts within the limits (`PART_LIMITS` unless others are given); a text that fits is one part,
 * unchanged. Parts are slices of the text, less white space at the cuts, plus what keeps each of them readable alone:
 * closing and opening fences, a table's header, quote markers. Markdown is cut between blocks and list items; code and
 * tables stay whole if they fit a part; paragraphs are cut after lines, sentences or words, never inside a grapheme
 * unless it is longer than a part. A title that would take more than half of a part is shortened.
 *
 * 200,000 characters take some 40 ms, and up to half a second when much of them has to be parsed or is meant to be slow
 * (2 cores; split-parse.ts has the bounds).
 */
export function splitText(text: string, options: SplitOptions): TextPart[] {
  const { title: wanted, format, limits = PART_LIMITS } = options;
  const whole = { title: wanted, text };
  if (text.length <= limits.characters && Buffer.byteLength(JSON.stringify(whole)) <= limits.jsonBytes) return [whole];

  const title = firstGraphemes(wanted, { jsonBytes: Math.floor(limits.jsonBytes / 2) });
  const ruler = new Ruler(text, {
    characters: limits.characters,
    jsonBytes: limits.jsonBytes - JSON_FRAME - jsonBytesOf(title),
  });
  const parser = new BoundedParser();
  const plan = format === "markdown" ? planMarkdown(ruler, parser) : planPlain(text);
  return new Packer(plan, ruler, parser).parts().map((part) => ({ title, text: part }));
}

/** Text without markup: one region. */
function planPlain(text: string): Plan {
  const end = text.trimEnd().length;
  const start = lineStart(text, Math.max(0, text.search(/\S/)));
  const region = { start, end, style: "plain", open: "", close: "", quotes: 0, dedent: undefined } as const;
  return { start, end, close: "", seams: [], regions: [region] };
}

/** The longest beginning in whole graphemes within a bound. */
function firstGraphemes(text: string, { graphemes = Infinity, jsonBytes = Infinity }): string {
  let end = 0;
  let count = 0;
  let bytes = 0;
  for (const { index, segment } of GRAPHEMES.segment(text)) {
    count += 1;
    bytes += jsonBytesOf(segment);
    if (count > graphemes || bytes > jsonBytes) break;
    end = index + segment.length;
  }
  return text.slice(0, end);
}
