import { lineEnd, linesOf, lineStart } from "./split-lines.ts";
import { indentationOf } from "./split-margin.ts";
import { type MarkdownNode, rangeOf } from "./split-parse.ts";
import type { Block, Context, Planner } from "./split-planner.ts";

/** Nesting up to which structure is followed; deeper text is cut like a paragraph. */
const DEEPEST = 64;

interface NodeBlock extends Block {
  node: MarkdownNode;
}

/** Plans the children of a tree that was parsed from the source at `base`. */
export function planChildren(planner: Planner, parent: MarkdownNode, base: number, context: Context): void {
  const blocks = (parent.children ?? []).map((node): NodeBlock => {
    const { start, end } = rangeOf(node);
    return {
      node,
      start: base + start,
      end: contentEnd(planner.source, base + start, base + end),
      heading: node.type === "heading",
      indented: node.type === "code" && fenceOf(planner.source.slice(base + start, base + start + 3)) === undefined,
    };
  });
  planner.siblings(blocks, context, (block) => planBlock(planner, block, base, context));
}

/** mdast ends a list in a quote behind the quote's blank lines. */
function contentEnd(source: string, start: number, end: number): number {
  const trailing = /(?:[\r\n][\s>]*)?$/.exec(source.slice(Math.max(start, end - 400), end));
  return end - (trailing?.[0].length ?? 0);
}

function planBlock(planner: Planner, block: NodeBlock, base: number, context: Context): void {
  const { node, start, end } = block;
  if (node.type === "code" && block.indented !== true) {
    planFence(planner, start, end, context);
  } else if (planner.fits(block, context)) {
    return;
  } else if (context.depth >= DEEPEST) {
    planner.prose(start, end, context);
  } else if (node.type === "table") {
    planTable(planner, start, end, context);
  } else if (node.type === "code") {
    planIndented(planner, start, end, context);
  } else if (node.type === "html") {
    planner.lines(lineStart(planner.source, start), end, {
      open: "",
      close: "",
      context,
      long: (line) => planner.region({ ...line, style: "cell", open: "", close: "" }, context),
    });
  } else if (node.type === "list") {
    planChildren(planner, node, base, { ...context, depth: context.depth + 1 });
  } else if (node.type === "listItem") {
    planChildren(planner, node, base, insideItem(planner, block, base, context));
  } else if (node.type === "blockquote") {
    planChildren(planner, node, base, insideQuote(block, context));
  } else {
    planner.prose(start, end, context);
  }
}

function insideItem(planner: Planner, { node, end }: NodeBlock, base: number, context: Context): Context {
  const { quotes, levels, depth } = context;
  const first = node.children?.[0];
  const columns = first ? indentationOf(planner.prefixOf(base + rangeOf(first).start), quotes) : context.columns;
  const inItem = quotes > 0 && (levels[0]?.inItem ?? false);
  const ordered = /^(?:\r\n|\n|\r)[ \t>]*\d{1,9}[.)][ \t]/.test(planner.source.slice(end, end + 200));
  const gap = ordered ? planner.newline + ">".repeat(quotes) : "";
  return { quotes, columns, depth: depth + 1, levels: [{ until: end, quotes, columns, inItem, gap }, ...levels] };
}

function insideQuote({ end }: NodeBlock, { quotes, levels, depth }: Context): Context {
  const level = { until: end, quotes: quotes + 1, columns: 0, inItem: true, gap: "" };
  return { quotes: quotes + 1, columns: 0, depth: depth + 1, levels: levels.length > 0 ? [level, ...levels] : [] };
}

/** The fence characters at the head of a line. */
function fenceOf(line: string): string | undefined {
  return /^(?:`{3,}|~{3,})/.exec(line)?.[0];
}

/** A fenced block: cut at line ends, closed and opened again with its info string. Also one that is never closed. */
export function planFence(planner: Planner, start: number, end: number, context: Context): void {
  const { source, newline, ruler, plan } = planner;
  const opener = source.slice(start, Math.min(end, lineEnd(source, start)));
  const fence = fenceOf(opener) ?? "```";
  const prefix = planner.prefixOf(start);
  const lastLine = lineStart(source, end);
  const closed = lastLine > start && closes(source.slice(lastLine, end), fence);
  const close = newline + prefix + fence;
  const atEnd = !closed && end >= plan.end && context.depth === 0 && ruler.isSmall(close);
  if (atEnd) plan.close = close;
  if (planner.fits({ start, end }, context, atEnd ? close : "")) return;

  const [first, ...rest] = [...linesOf(source, start, end)];
  if (closed) rest.pop();
  const head = rest[0];
  if (!first || !head) return planner.prose(start, end, context);
  const full = prefix + opener + newline;
  // An opening line with half a part of info string is not worth repeating.
  const open = ruler.isSmall(full + close) ? full : prefix + fence + newline;
  const columns = indentationOf(prefix, context.quotes);
  planner.lines(head.start, rest.at(-1)?.end ?? head.end, {
    open,
    close,
    context,
    columns,
    long: (line) => {
      const content = line.start + prefixLength(source.slice(line.start, line.end), prefix);
      planner.region({ start: content, end: line.end, style: "code", open: open + prefix, close }, context, columns);
    },
  });
}

/** How much of a line is the containers' prefix; a line may have less of it than the first. */
function prefixLength(line: string, prefix: string): number {
  let length = 0;
  while (length < prefix.length && length < line.length && /[ \t>]/.test(line[length] ?? "")) length += 1;
  return length;
}

function closes(line: string, fence: string): boolean {
  const bare = line.replace(/^[ \t>]*/, "").trimEnd();
  return bare.length >= fence.length && bare === (fence[0] ?? "").repeat(bare.length);
}

function planIndented(planner: Planner, start: number, end: number, context: Context): void {
  const { source } = planner;
  const from = lineStart(source, start);
  const first = source.slice(from, lineEnd(source, start));
  const prefix = (/^[\s>]*/.exec(first)?.[0] ?? "").slice(0, 400);
  planner.lines(from, end, {
    open: "",
    close: "",
    context,
    long: (line) => planner.region({ ...line, style: "code", open: prefix, close: "" }, context),
  });
}

/** A table: cut at row ends, header and delimiter row repeated; a row too long for that is cut in or between cells. */
export function planTable(planner: Planner, start: number, end: number, context: Context): void {
  const { source, newline } = planner;
  const prefix = planner.prefixOf(start);
  const [header, delimiter, first] = [...take(linesOf(source, start, end), 3)];
  if (!header || !delimiter || !first) return planner.prose(start, end, context);
  const rule = source.slice(delimiter.start, delimiter.end);
  const open = prefix + source.slice(header.start, header.end) + newline + rule + newline;
  const columns = indentationOf(prefix, context.quotes);
  planner.lines(first.start, end, {
    open,
    close: "",
    context,
    columns,
    long: (row) => planRow(planner, row, { open, prefix, context, columns }),
  });
}

function planRow(
  planner: Planner,
  row: { start: number; end: number },
  { open, prefix, context, columns }: { open: string; prefix: string; context: Context; columns: number },
): void {
  const content = row.start + prefixLength(planner.source.slice(row.start, row.end), prefix);
  let before = open + prefix;
  let end: number | undefined;
  for (const cell of cellsOf(planner.source, content, row.end)) {
    before += "| ";
    if (end !== undefined) planner.seam({ end, next: cell.start, open: before, close: "" }, context, columns);
    planner.region({ ...cell, style: "cell", open: before, close: "" }, context, columns);
    end = cell.end;
  }
}

/** The texts between the pipes that no backslash escapes. */
function* cellsOf(source: string, start: number, end: number): Generator<{ start: number; end: number }> {
  let from = source[start] === "|" ? start + 1 : start;
  for (let at = from; at <= end; at += 1) {
    if (source[at] === "\\") at += 1;
    else if (at >= end || source[at] === "|") {
      const text = source.slice(from, Math.min(at, end));
      const start = from + text.length - text.trimStart().length;
      yield { start, end: Math.max(start, from + text.trimEnd().length) };
      from = at + 1;
    }
  }
}

function* take<T>(items: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const item of items) {
    if (left === 0) return;
    left -= 1;
    yield item;
  }
}
