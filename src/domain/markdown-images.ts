import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";
import { type MarkdownNode, type Range, rangeOf } from "./split-parse.ts";

/** `![alt](url)` in a Markdown text; code that looks like one is none. */
export interface MarkdownImage extends Range {
  url: string;
  alt: string;
  /** It is the words of a link: `[![alt](url)](…)`. */
  inLink: boolean;
}

/** Longest text that is parsed, and most brackets in it: a part is a sixth of it, and the time grows with the square. */
const LONGEST = 24_000;
const MOST_BRACKETS = 1_000;
const DEEPEST = 32;
const DEEP = new RegExp(`^(?:[ \\t]*(?:>|[-+*]|\\d{1,9}[.)])){${DEEPEST},}`, "m");

interface ImageNode extends MarkdownNode {
  url?: string;
  alt?: string | null | undefined;
  children?: ImageNode[];
}

const SYNTAX = gfm();
// Transforms are passes over the finished tree; positions need none of them.
const TREE = gfmFromMarkdown().map((extension) => ({ ...extension, transforms: [] }));

/** The images with an http(s) address of a text, in order, none inside another. A text that is meant to be slow has none. */
export function imagesIn(text: string): MarkdownImage[] {
  if (!text.includes("![") || text.length > LONGEST || DEEP.test(text)) return [];
  if ((text.match(/[[\]]/g)?.length ?? 0) > MOST_BRACKETS) return [];
  // micromark drops a byte order mark, which would shift every offset.
  const same = text.startsWith("\uFEFF") ? ` ${text.slice(1)}` : text;
  const found: MarkdownImage[] = [];
  const pending: { node: ImageNode; inLink: boolean }[] = [
    { node: fromMarkdown(same, { extensions: [SYNTAX], mdastExtensions: TREE }), inLink: false },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node, inLink } = next;
    if (node.type === "image" && /^https?:\/\//i.test(node.url ?? "")) {
      found.push({ ...rangeOf(node), url: node.url ?? "", alt: node.alt ?? "", inLink });
    }
    const isLink = inLink || node.type === "link" || node.type === "linkReference";
    for (const child of node.children ?? []) pending.push({ node: child, inLink: isLink });
  }
  return found.toSorted((a, b) => a.start - b.start);
}

/** Replaces images by what `shownAs` says of each: another address, or undefined for a link. All else stays byte for byte. */
export function replaceImages(
  text: string,
  images: readonly MarkdownImage[],
  shownAs: (image: MarkdownImage) => string | undefined,
): string {
  let result = "";
  let end = 0;
  for (const image of images) {
    const address = shownAs(image);
    result += text.slice(end, image.start) + (address === undefined ? linkOf(image) : imageOf(image, address));
    end = image.end;
  }
  return result + text.slice(end);
}

const imageOf = ({ alt }: MarkdownImage, address: string): string => `![${escaped(alt)}](${address})`;

/** A link cannot hold another: there the words alone are left. */
function linkOf({ alt, url, inLink }: MarkdownImage): string {
  const words = escaped(alt.trim() === "" ? url : alt);
  return inLink ? words : `[${words}](${url.replace(/[\s()<>\\]/g, percentEncoded)})`;
}

const percentEncoded = (character: string): string =>
  `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;

/** Words that stay words: no bracket ends them, no line break ends the paragraph. */
function escaped(words: string): string {
  return words.replace(/\s+/g, " ").replace(/[[\]\\`*_<>!&~|]/g, "\\$&");
}
