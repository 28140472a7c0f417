/** A block that begins with a line, and what it is. */
export interface LeafStart {
  kind: "heading" | "fence" | "rule" | "html";
  /** Lines after this one belong to it: a fence, or HTML. */
  open?: "fence" | "html";
  fence?: string;
  /** Whether it ends with this line; HTML without it ends before a blank line. */
  ends?: (line: string) => boolean;
}

/** Seven marks and more are meant as a heading too, also without words: renderers cut them to six. */
const HEADING = /^#+(?:[ \t]|$)/;
const FENCE = /^(?:(`{3,})[^`]*|(~{3,}).*)$/;
const RULE = /^(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const DELIMITERS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const RAW_HTML: readonly [RegExp, RegExp][] = [
  [/^<(?:script|pre|style|textarea)(?:[\s>]|$)/i, /<\/(?:script|pre|style|textarea)>/i],
  [/^<!--/, /-->/],
  [/^<\?/, /\?>/],
  [/^<!\[CDATA\[/, /\]\]>/],
  [/^<![a-z]/i, />/],
];
const TAG = /^<\/?[a-z][a-z0-9-]*(?:[\s/>]|$)/i;
const LONE_TAG = /^<\/?[a-z][^<>]*>[ \t]*$/i;

/** The block that a line's text begins, if it is one that can end a paragraph; `text` is not empty. */
export function leafAt(text: string, inParagraph: boolean, html: boolean): LeafStart | undefined {
  if (HEADING.test(text)) return { kind: "heading" };
  const fence = FENCE.exec(text);
  if (fence) {
    const mark = fence[1] ?? fence[2] ?? "";
    return { kind: "fence", open: "fence", fence: mark, ends: closingFence(mark) };
  }
  if (RULE.test(text)) return { kind: "rule" };
  return html && text.startsWith("<") ? htmlAt(text, inParagraph) : undefined;
}

/** A tag of any name is taken for HTML here, which leaves its lines as they are. */
function htmlAt(text: string, inParagraph: boolean): LeafStart | undefined {
  const raw = RAW_HTML.find(([first]) => first.test(text));
  if (raw) {
    const ends = (line: string): boolean => raw[1].test(line);
    return ends(text.slice(2)) ? { kind: "html" } : { kind: "html", open: "html", ends };
  }
  const tag = TAG.test(text) && (BLOCK_TAG.test(text) || (!inParagraph && LONE_TAG.test(text)));
  return tag ? { kind: "html", open: "html" } : undefined;
}

const BLOCK_TAG =
  /^<\/?(?:address|article|aside|blockquote|body|center|col|colgroup|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|nav|ol|option|p|param|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul)(?:\s|\/?>|$)/i;

/** No pattern with a count, as in split-sections.ts. */
function closingFence(fence: string): (line: string) => boolean {
  const mark = fence[0] ?? "";
  return (line) => {
    const bare = line.trimEnd();
    return bare.length >= fence.length && bare === mark.repeat(bare.length);
  };
}

/** `===` or `---` under a paragraph. */
export const isSetext = (text: string): boolean => /^(?:=+|-+)[ \t]*$/.test(text);

export function isDelimiterRow(text: string): boolean {
  return text.includes("|") && DELIMITERS.test(text);
}

/** Where the pipes of a table's row stand that no backslash escapes. */
export function barsOf(row: string): number[] {
  const bars: number[] = [];
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] === "\\") at += 1;
    else if (row[at] === "|") bars.push(at);
  }
  return bars;
}

/** How many cells a table's row has. */
export function cellsOf(row: string): number {
  const text = row.trim();
  const bars = barsOf(text);
  const last = bars.at(-1) ?? -1;
  return bars.length + 1 - (text.startsWith("|") ? 1 : 0) - (last > 0 && last === text.length - 1 ? 1 : 0);
}

/** A list marker with white space or nothing behind it, unless its line is a rule. */
export function listMarkerAt(
  text: string,
  at: number,
  end: number,
): { length: number; mayInterrupt: boolean } | undefined {
  const marker = /^(?:[-+*]|(\d{1,9})[.)])(?=[ \t]|$)/.exec(text.slice(at, Math.min(end, at + 12)));
  if (!marker || (/[-*]/.test(text[at] ?? "") && RULE.test(text.slice(at, end)))) return undefined;
  const length = marker[0].length;
  // The slice may end right behind the marker although the line goes on.
  if (at + length < end && !/[ \t]/.test(text[at + length] ?? "")) return undefined;
  const empty = text.slice(at + length, Math.min(end, at + length + 200)).trim() === "";
  return { length, mayInterrupt: !empty && (marker[1] === undefined || Number(marker[1]) === 1) };
}
