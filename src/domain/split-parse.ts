import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";

/** What this project needs of an mdast node. */
export interface MarkdownNode {
  type: string;
  children?: MarkdownNode[];
  position?: { start: { offset?: number | undefined }; end: { offset?: number | undefined } } | undefined;
}

export interface Range {
  start: number;
  end: number;
}

/** Longest section, and characters per text, that are parsed; micromark's time grows with the square of its input. */
const LONGEST = 24_000;
const BUDGET = 64_000;
/** Deepest nesting that is parsed: 50,000 `>` in a line take 18 s. */
const DEEPEST = 32;
const DEEP = new RegExp(`^(?:[ \\t]*(?:>|[-+*]|\\d{1,9}[.)])(?![^ \\t>])){${DEEPEST},}`, "m");

const INLINE_CONSTRUCTS = [
  "attention",
  "autolink",
  "codeText",
  "labelStartImage",
  "labelStartLink",
  "labelEnd",
  "htmlText",
  "characterEscape",
  "characterReference",
  "hardBreakEscape",
  "strikethrough",
  "wwwAutolink",
  "protocolAutolink",
  "emailAutolink",
  "gfmFootnoteCall",
  "gfmPotentialFootnoteCall",
  "tasklistCheck",
  "definition",
  "gfmFootnoteDefinition",
];
const BLOCK_CONSTRUCTS = [
  "blockQuote",
  "list",
  "headingAtx",
  "codeFenced",
  "codeIndented",
  "htmlFlow",
  "thematicBreak",
  "setextUnderline",
  "definition",
  "table",
  "gfmFootnoteDefinition",
  "tasklistCheck",
  "wwwAutolink",
  "protocolAutolink",
  "emailAutolink",
];
const KEPT_INLINE: ReadonlySet<string> = new Set([
  "link",
  "image",
  "linkReference",
  "imageReference",
  "footnoteReference",
  "inlineCode",
  "emphasis",
  "strong",
  "delete",
  "html",
]);

/** Escapes, character references and addresses, which mdast does not show or finds only with more work. */
const KEPT_TOKENS = /\\[!-/:-@[-`{-~]|&#?[0-9A-Za-z]{1,31};|https?:\/\/[!-~]+/g;
const ADDRESSES = /https?:\/\/[!-~]+/g;
const MARKUP = /[`*_~[<\]!]/g;
/** Delimiters that are looked at in one paragraph; resolving 3,500 asterisks takes 300 ms. */
const MOST_DELIMITERS = 1_500;

const SYNTAX = gfm();
// Transforms are passes over the finished tree (finding addresses once more); positions need none of them.
const TREE = gfmFromMarkdown().map((extension) => ({ ...extension, transforms: [] }));

/** Parses within bounds of size and depth; one object for one text. */
export class BoundedParser {
  #blocksLeft = BUDGET;
  #inlineLeft = BUDGET;

  /** Block structure without inline constructs, or undefined when the text is beyond what is worth parsing. */
  blocks(text: string): MarkdownNode | undefined {
    if (text.length > Math.min(LONGEST, this.#blocksLeft) || DEEP.test(text)) return undefined;
    this.#blocksLeft -= text.length;
    return parse(text, INLINE_CONSTRUCTS);
  }

  /** Ranges of a paragraph that should not be cut, in order, none inside another; `fits` says which are small enough. */
  inline(text: string, fits: (range: Range) => boolean): Range[] {
    const ranges = matchesOf(text, KEPT_TOKENS);
    const head = headWithin(text, MOST_DELIMITERS);
    if (head !== undefined && head.length <= Math.min(LONGEST, this.#inlineLeft)) {
      this.#inlineLeft -= head.length;
      collect(parse(head, BLOCK_CONSTRUCTS), fits, ranges);
    }
    return merged(ranges);
  }
}

/** The text up to so many delimiters, or undefined when it has none. */
function headWithin(text: string, most: number): string | undefined {
  let count = 0;
  for (const { index } of text.matchAll(MARKUP)) {
    count += 1;
    if (count > most) return text.slice(0, index);
  }
  return count === 0 ? undefined : text;
}

/** Addresses, which plain text should not be cut in. */
export function addressesIn(text: string): Range[] {
  return matchesOf(text, ADDRESSES);
}

function matchesOf(text: string, pattern: RegExp): Range[] {
  return [...text.matchAll(pattern)].map((match) => ({ start: match.index, end: match.index + match[0].length }));
}

function parse(text: string, disabled: string[]): MarkdownNode {
  // micromark drops a byte order mark, which would shift every offset.
  const same = text.startsWith("\uFEFF") ? ` ${text.slice(1)}` : text;
  return fromMarkdown(same, { extensions: [SYNTAX, { disable: { null: disabled } }], mdastExtensions: TREE });
}

function collect(node: MarkdownNode, fits: (range: Range) => boolean, ranges: Range[]): void {
  const pending = [node];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const range = rangeOf(next);
    if (KEPT_INLINE.has(next.type) && fits(range)) ranges.push(range);
    else pending.push(...(next.children ?? []));
  }
}

function merged(ranges: Range[]): Range[] {
  const result: Range[] = [];
  for (const range of ranges.sort((a, b) => a.start - b.start || b.end - a.end)) {
    const last = result.at(-1);
    if (last && range.start < last.end) last.end = Math.max(last.end, range.end);
    else result.push({ ...range });
  }
  return result;
}

/** Offsets of a node; fromMarkdown gives every node a position. */
export function rangeOf(node: MarkdownNode): Range {
  return { start: node.position?.start.offset ?? 0, end: node.position?.end.offset ?? 0 };
}
