/** Limits of one part, safe on every route (dingtalk-protocol.md §3.2, §3.5; design §7). */
export const PART_LIMITS = { characters: 3_500, jsonBytes: 14_000 } as const;

export interface TextPart {
  title: string;
  text: string;
}

const TITLE_LENGTH = 40;

/** First line without markup, at most 40 characters: what a chat list shows. Never empty. */
export function titleOf(text: string): string {
  for (const line of text.split("\n")) {
    const plain = line
      .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
      .replace(/^[\s#>*+\-=`~|\d.]+/, "")
      .replace(/[*_`~|]/g, "")
      .trim();
    if (plain !== "") return graphemes(plain).slice(0, TITLE_LENGTH).join("");
  }
  return "…";
}

/**
 * Splits a text into parts within `PART_LIMITS`, at the latest paragraph, line or sentence end that fits, else between
 * two graphemes. Joined with what was trimmed at the seams (line breaks only) the parts are the text.
 */
export function splitText(text: string, title: string, limits = PART_LIMITS): TextPart[] {
  const parts: TextPart[] = [];
  let rest = text;
  while (!fits(rest, title, limits)) {
    const cut = cutPosition(rest, title, limits);
    parts.push({ title, text: rest.slice(0, cut).replace(/\n+$/, "") });
    rest = rest.slice(cut).replace(/^\n+/, "");
  }
  if (rest !== "" || parts.length === 0) parts.push({ title, text: rest });
  return parts.filter((part, index) => part.text !== "" || index === 0);
}

type Limits = { characters: number; jsonBytes: number };

function fits(text: string, title: string, limits: Limits): boolean {
  if (text.length > limits.characters) return false;
  return Buffer.byteLength(JSON.stringify({ title, text })) <= limits.jsonBytes;
}

/** The longest prefix that fits, moved back to the best seam in its second half. */
function cutPosition(text: string, title: string, limits: Limits): number {
  let low = 0;
  let high = Math.min(text.length, limits.characters);
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(text.slice(0, middle), title, limits)) low = middle;
    else high = middle - 1;
  }
  const head = text.slice(0, low);
  for (const seam of ["\n\n", "\n", "。", ". ", "！", "？", " "]) {
    const at = head.lastIndexOf(seam);
    if (at >= low / 2) return at + seam.length;
  }
  const whole = graphemes(text.slice(0, low + 64));
  let length = 0;
  for (const grapheme of whole) {
    if (length + grapheme.length > low) break;
    length += grapheme.length;
  }
  return Math.max(length, 1);
}

function graphemes(text: string): string[] {
  return [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)].map(({ segment }) => segment);
}
