import { planChildren, planFence, planTable } from "./split-blocks.ts";
import { linesOf } from "./split-lines.ts";
import type { BoundedParser, MarkdownNode } from "./split-parse.ts";
import { rangeOf } from "./split-parse.ts";
import type { Plan } from "./split-plan.ts";
import { OUTSIDE, Planner } from "./split-planner.ts";
import type { Ruler } from "./split-ruler.ts";
import { type Section, sectionsOf } from "./split-sections.ts";

/** Lines at the head of a section too long to parse that tell whether it is a table. */
const HEAD_LINES = 3;

/** How Markdown may be cut: sections as they are while they fit, the parts of those that do not by their syntax tree. */
export function planMarkdown(ruler: Ruler, parser: BoundedParser): Plan {
  const sections = sectionsOf(ruler.source);
  const planner = new Planner(ruler, sections[0]?.start ?? 0, sections.at(-1)?.end ?? 0);
  const blocks = sections.map((section) => ({ ...section, heading: section.kind === "heading" }));
  planner.siblings(blocks, OUTSIDE, (section) => planSection(planner, section, parser));
  return planner.plan;
}

function planSection(planner: Planner, section: Section, parser: BoundedParser): void {
  const text = planner.source.slice(section.start, section.end);
  if (section.kind === "fence") {
    const indentation = /^ */.exec(text)?.[0].length ?? 0;
    planFence(planner, section.start + indentation, section.end, OUTSIDE);
    return;
  }
  if (planner.fits(section, OUTSIDE)) return;
  const tree = parser.blocks(text);
  if (tree) planChildren(planner, tree, section.start, OUTSIDE);
  else planUnparsed(planner, section, parser);
}

/** A section that is too long or too deep for the parser: a table row by row, all else by lines and sentences. */
function planUnparsed(planner: Planner, { start, end }: Section, parser: BoundedParser): void {
  const { source } = planner;
  let headEnd = start;
  let lines = 0;
  for (const line of linesOf(source, start, end)) {
    if (lines === HEAD_LINES) break;
    headEnd = line.end;
    lines += 1;
  }
  const first = parser.blocks(source.slice(start, headEnd))?.children?.[0];
  if (first && isTableTo(first, headEnd - start)) {
    planTable(planner, start + rangeOf(first).start, end, OUTSIDE);
  } else {
    const quotes = /^(?: {0,3}> ?){1,32}/.exec(source.slice(start, start + 200))?.[0].replace(/[^>]/g, "").length ?? 0;
    // Lines that begin with a marker are no running text: they are left as they are, and cut between.
    const structured =
      quotes === 0 && /^[ \t]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]|<|`{3}|~{3})/m.test(source.slice(start, end));
    if (structured) planner.region({ start, end, style: "plain", open: "", close: "" }, OUTSIDE);
    else planner.prose(start, end, { ...OUTSIDE, quotes });
  }
}

const isTableTo = (node: MarkdownNode, end: number): boolean => node.type === "table" && rangeOf(node).end === end;
