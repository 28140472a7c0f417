import { linesOf, type Line } from "./split-lines.ts";

/**
 * A stretch of Markdown that can be parsed by itself, and before which a part may begin. `start` is the beginning of a
 * line, `end` the end of its last line that is not blank.
 */
export interface Section {
  kind: "fence" | "heading" | "html" | "item" | "other";
  start: number;
  end: number;
}

interface Open extends Section {
  /** item: the columns its content is indented by. */
  width: number;
  lines: number;
  /** Fence, raw HTML: nothing but this line ends it. */
  until: ((line: string) => boolean) | undefined;
}

const FENCE = /^( {0,3})(?:(`{3,})[^`]*|(~{3,}).*)$/;
const HEADING = /^#{1,6}(?:[ \t]|$)/;
const MARKER = /^(?:[-+*]|(\d{1,9})[.)])(?:([ \t]+)(?=[^ \t])|[ \t]*$)/;
const UNDERLINE = /^ {0,3}(?:=+|-+)[ \t]*$/;
const RAW_HTML: readonly [RegExp, RegExp][] = [
  [/^<(?:script|pre|style|textarea)(?:[\s>]|$)/i, /<\/(?:script|pre|style|textarea)>/i],
  [/^<!--/, /-->/],
  [/^<\?/, /\?>/],
  [/^<!\[CDATA\[/, /\]\]>/],
  [/^<![a-z]/i, />/],
];
const BLOCK_TAG =
  /^<\/?(?:address|article|aside|blockquote|body|caption|center|col|colgroup|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|nav|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul)(?:\s|\/?>|$)/i;
const LONE_TAG = /^<\/?[a-z][^<>]*>[ \t]*$/i;

/**
 * Cuts Markdown into sections by looking at each line once. It rests on three facts of CommonMark: a line without
 * indentation after a blank line is in no list, quote or paragraph begun before it; nor is an ATX heading, a list marker
 * or a fence without indentation, blank line or not; and a fence of the top level ends at its closing line only.
 *
 * It is here because mdast takes 3 s for 200,000 characters and 80 s for a million: a document is handed to it only in
 * sections, and only those that are too long for a part.
 */
export function sectionsOf(text: string): Section[] {
  const sections: Section[] = [];
  let open: Open | undefined;
  let blank = false;
  const begin = (kind: Section["kind"], line: Line, more: Partial<Pick<Open, "width" | "until">> = {}): void => {
    finish();
    open = { kind, start: line.start, end: line.end, width: more.width ?? 0, lines: 1, until: more.until };
  };
  const finish = (): void => {
    if (open) sections.push({ kind: open.kind, start: open.start, end: open.end });
    open = undefined;
  };

  for (const line of linesOf(text)) {
    const content = text.slice(line.start, line.end);
    if (open?.until) {
      open.end = line.end;
      if (open.until(content)) finish();
      continue;
    }
    if (content.trim() === "") {
      blank = true;
      if (open?.kind === "html") finish();
      continue;
    }
    const fence = open?.kind === "html" ? null : FENCE.exec(content);
    const fresh: boolean = open === undefined || (blank && /^[^ \t]/.test(content));
    blank = false;
    if (fence && (fresh || open?.kind !== "item" || (fence[1] ?? "").length < open.width)) {
      begin("fence", line, { until: closingFence(fence[2] ?? fence[3] ?? "") });
    } else if (open?.kind !== "html" && HEADING.test(content)) {
      begin("heading", line);
      finish();
    } else if (open?.kind !== "html" && beginsItem(content, fresh, open)) {
      begin("item", line, { width: itemWidth(content) });
    } else if (open?.kind !== "html" && content.startsWith("<") && isHtml(content, fresh)) {
      const raw = RAW_HTML.find(([first]) => first.test(content));
      begin("html", line, raw ? { until: (line) => raw[1].test(line) } : {});
      if (raw?.[1].test(content.slice(2))) finish();
    } else if (fresh) {
      begin("other", line);
    } else if (open) {
      open.end = line.end;
      open.lines += 1;
      if (open.kind === "other" && open.lines === 2 && UNDERLINE.test(content)) {
        open.kind = "heading";
        finish();
      }
    }
  }
  finish();
  return sections;
}

/** No pattern with a count: a fence of 200,000 backticks would take the expression's compiler minutes. */
function closingFence(fence: string): (line: string) => boolean {
  return (line) => {
    const bare = line.trimEnd();
    const indentation = /^ {0,3}/.exec(bare)?.[0].length ?? 0;
    const length = bare.length - indentation;
    return length >= fence.length && bare.endsWith((fence[0] ?? "").repeat(length));
  };
}

/** A marker begins an item after another item or a blank line; a paragraph it interrupts only as `-` or `1.` with text. */
function beginsItem(content: string, fresh: boolean, open: Section | undefined): boolean {
  const marker = MARKER.exec(content);
  if (!marker) return false;
  if (fresh || open?.kind === "item") return true;
  return marker[2] !== undefined && (marker[1] === undefined || Number(marker[1]) === 1);
}

function itemWidth(content: string): number {
  const marker = /^\S+/.exec(content)?.[0].length ?? 1;
  const space = /^[ \t]*/.exec(content.slice(marker))?.[0] ?? "";
  return marker + (space.length >= 1 && space.length <= 4 && content.length > marker + space.length ? space.length : 1);
}

function isHtml(content: string, fresh: boolean): boolean {
  return (
    RAW_HTML.some(([first]) => first.test(content)) || BLOCK_TAG.test(content) || (fresh && LONE_TAG.test(content))
  );
}
