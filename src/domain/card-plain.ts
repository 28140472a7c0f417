import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";
import { type Section, sectionsOf } from "./split-sections.ts";

/** What is read of mdast's nodes here. */
interface Node {
  type: string;
  value?: string | undefined;
  url?: string | undefined;
  alt?: string | null | undefined;
  children?: Node[];
  position?: { start: { offset?: number | undefined }; end: { offset?: number | undefined } } | undefined;
}

interface Edit {
  start: number;
  end: number;
  text: string;
}

/** Longest section, and characters of a text, that are parsed: micromark's time grows with the square of a section. */
const LONGEST = 8_000;
const BUDGET = 64_000;
/** List items that are parsed together: 8,000 characters of them take 300 ms. */
const LONGEST_RUN = 2_000;
/** Delimiters and depth of a section as in split-parse.ts: more of them are no text anybody wrote. */
const MOST_DELIMITERS = 1_500;
const DEEP = /^(?:[ \t]*(?:>|[-+*]|\d{1,9}[.)])(?![^ \t>])){32,}/m;

/** Without these it is faster: addresses stay as they are. */
const LITERAL = ["wwwAutolink", "protocolAutolink", "emailAutolink"];
/** Without any of these there is nothing to take away. */
const MARKUP = /[\\`*_~[\]<&#|]|^[ \t]*[=-]+[ \t]*$/m;
const SYNTAX = gfm();
const TREE = gfmFromMarkdown().map((extension) => ({ ...extension, transforms: [] }));

/**
 * The text of Markdown for people who see it as it is (`reply.format: text`): without heading marks, emphasis, fences and
 * backslashes; code as it stands; links and images as `label (address)`; tables as rows of `a | b`; list and quote
 * markers kept. It is cut out of the source, so that nothing is reworded. Sections that are too long or too deep for
 * the parser (some 8,000 characters in one list item or table) stay as they are, and so does everything behind the first
 * 64,000 characters.
 */
export function plainTextOf(markdown: string): string {
  const sections = sectionsOf(markdown);
  const runs = runsOf(markdown, sections);
  let out = "";
  let at = 0;
  let left = BUDGET;
  for (const { start, end } of runs) {
    const text = markdown.slice(start, end);
    const worth =
      MARKUP.test(text) &&
      text.length <= Math.min(LONGEST, left) &&
      !DEEP.test(text) &&
      delimitersOf(text) <= MOST_DELIMITERS;
    if (worth) left -= text.length;
    out += markdown.slice(at, start) + (worth ? plainSection(text) : text);
    at = end;
  }
  return (out + markdown.slice(at)).trim();
}

/** Sections of list items are parsed together: a call for each of them would take longer than the parsing. */
function runsOf(text: string, sections: readonly Section[]): { start: number; end: number }[] {
  const runs: { start: number; end: number; items: boolean }[] = [];
  for (const { kind, start, end } of sections) {
    const last = runs.at(-1);
    const items = kind === "item";
    if (last && items && last.items && end - last.start <= LONGEST_RUN) last.end = end;
    else runs.push({ start, end, items });
  }
  return runs.filter(({ start, end }) => /\S/.test(text.slice(start, end)));
}

const delimitersOf = (text: string): number => text.match(/[`*_~[<\]!]/g)?.length ?? 0;

function plainSection(source: string): string {
  // micromark drops a byte order mark, which would shift every offset.
  const same = source.startsWith("\uFEFF") ? ` ${source.slice(1)}` : source;
  const tree = fromMarkdown(same, { extensions: [SYNTAX, { disable: { null: LITERAL } }], mdastExtensions: TREE });
  const edits: Edit[] = [];
  collect(source, tree, edits);
  let out = "";
  let at = 0;
  for (const { start, end, text } of edits.sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (start < at) continue;
    out += source.slice(at, start) + text;
    at = end;
  }
  return out + source.slice(at);
}

function collect(source: string, root: Node, edits: Edit[]): void {
  const pending: Node[] = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    editsOf(source, node, edits);
    pending.push(...(node.children ?? []));
  }
}

function editsOf(source: string, node: Node, edits: Edit[]): void {
  const { start, end } = rangeOf(node);
  const raw = source.slice(start, end);
  switch (node.type) {
    case "heading":
    case "strong":
    case "emphasis":
    case "delete":
      around(node, edits, "", "");
      return;
    case "inlineCode":
      edits.push({ start, end, text: node.value ?? "" });
      return;
    case "code":
      fence(source, { start, end }, edits);
      return;
    case "text":
      if (/[\\&]/.test(raw)) edits.push({ start, end, text: unescaped(raw, node.value ?? "") });
      return;
    case "break":
      edits.push({ start, end, text: /\r\n|\n|\r/.exec(raw)?.[0] ?? "\n" });
      return;
    case "html":
      if (/^<br[ \t]*\/?>$/i.test(raw)) edits.push({ start, end, text: /^[\r\n]/.test(source.slice(end)) ? "" : "\n" });
      return;
    case "link":
      link(source, node, edits);
      return;
    case "image":
      edits.push({ start, end, text: labelled(node.alt ?? "", node.url ?? "") });
      return;
    case "table":
      delimiters(source, node, edits);
      return;
    case "tableRow":
      row(node, edits);
  }
}

/** Takes away what a node has before its first and behind its last child. */
function around(node: Node, edits: Edit[], before: string, behind: string): void {
  const { start, end } = rangeOf(node);
  const [first] = node.children ?? [];
  const last = node.children?.at(-1);
  if (!first || !last) {
    edits.push({ start, end, text: before + behind });
    return;
  }
  edits.push({ start, end: rangeOf(first).start, text: before }, { start: rangeOf(last).end, end, text: behind });
}

function link(source: string, node: Node, edits: Edit[]): void {
  const url = node.url ?? "";
  const { start, end } = rangeOf(node);
  const [first] = node.children ?? [];
  const raw = source.slice(start, end);
  if (!raw.startsWith("[")) {
    // An address by itself, with or without angle brackets.
    if (raw.startsWith("<")) edits.push({ start, end, text: raw.slice(1, -1) });
    return;
  }
  const label = first ? source.slice(rangeOf(first).start, rangeOf(node.children?.at(-1) ?? first).end) : "";
  if (label === "" || label === url) edits.push({ start, end, text: url });
  else around(node, edits, "", ` (${url})`);
}

const labelled = (label: string, url: string): string => (label === "" ? url : `${label} (${url})`);

/** The lines of a fence go, with their line ends; indented code stays as it is. */
function fence(source: string, { start, end }: { start: number; end: number }, edits: Edit[]): void {
  const mark = /^(?:`{3,}|~{3,})/.exec(source.slice(start, start + 400))?.[0];
  if (mark === undefined) return;
  const raw = source.slice(start, end);
  const opener = /^[^\r\n]*(?:\r\n|\n|\r)?[ \t>]*/.exec(raw)?.[0] ?? "";
  const closer = /(?:\r\n|\n|\r)[ \t>]*(`{3,}|~{3,})[ \t]*$/.exec(raw);
  const closes = closer?.[1]?.startsWith(mark) === true;
  edits.push({ start, end: start + opener.length, text: "" });
  if (closes && closer && closer.index >= opener.length) edits.push({ start: start + closer.index, end, text: "" });
  else if (closes) edits.push({ start: start + opener.length, end, text: "" });
}

/** The text of a node on several lines has lost what their containers put before each of them. */
function unescaped(raw: string, value: string): string {
  const lines = value.split(/\r\n|\n|\r/);
  const ending = /\r\n|\n|\r/.exec(raw)?.[0] ?? "\n";
  return raw
    .split(/\r\n|\n|\r/)
    .map((line, index) => (index === 0 ? "" : (/^[ \t>]*/.exec(line)?.[0] ?? "")) + (lines[index] ?? ""))
    .join(ending);
}

/** The second line of a table. */
function delimiters(source: string, node: Node, edits: Edit[]): void {
  const [head] = node.children ?? [];
  if (!head) return;
  const from = rangeOf(head).end;
  const line = /^[^\r\n]*(?:\r\n|\n|\r)[^\r\n]*/.exec(source.slice(from))?.[0] ?? "";
  edits.push({ start: from, end: from + line.length, text: "" });
}

/** `a | b` of `| a | b |`: cells' texts with a bar between them. */
function row(node: Node, edits: Edit[]): void {
  const { start, end } = rangeOf(node);
  let at = start;
  for (const [index, cell] of (node.children ?? []).entries()) {
    const [first] = cell.children ?? [];
    const last = cell.children?.at(-1);
    const stop = first ? rangeOf(first).start : rangeOf(cell).end;
    edits.push({ start: at, end: stop, text: index === 0 ? "" : " | " });
    at = last ? rangeOf(last).end : stop;
  }
  edits.push({ start: at, end, text: "" });
}

function rangeOf({ position }: Node): { start: number; end: number } {
  return { start: position?.start.offset ?? 0, end: position?.end.offset ?? 0 };
}
