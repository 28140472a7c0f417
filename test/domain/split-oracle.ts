/**
 * Finds again where in the source each part came from, knowing nothing of how it was cut: only what a part may have
 * besides a slice of the source (quote markers, an opening and a closing fence, a table's first two lines that stand
 * in the source before it), and that nothing but white space and quote markers may lie between two slices.
 */
export interface Slice {
  start: number;
  end: number;
}

export function slicesOf(source: string, parts: readonly string[]): Slice[] | undefined {
  const slices: Slice[] = [];
  const failed = new Set<string>();
  const from = (index: number, position: number): boolean => {
    const key = `${index} ${position}`;
    if (failed.has(key)) return false;
    failed.add(key);
    const part = parts[index];
    if (part === undefined) return /^[\s>]*$/.test(source.slice(position));
    const gap = /^[\s>|]*/.exec(source.slice(position, position + 4_000))?.[0].length ?? 0;
    for (const head of headsOf(part, source.slice(0, position + gap))) {
      for (const tail of tailsOf(part.slice(head), source)) {
        const body = part.slice(head, part.length - tail);
        for (let start = position + gap; start >= position; start -= 1) {
          const end = endOf(source, start, body);
          if (end === undefined) continue;
          slices[index] = { start, end };
          if (from(index + 1, end)) return true;
        }
      }
    }
    return false;
  };
  return from(0, 0) ? slices : undefined;
}

/** Where `body` ends in the source if it begins at `start`: literally, or with lines indented less than there. */
function endOf(source: string, start: number, body: string): number | undefined {
  if (source.startsWith(body, start)) return start + body.length;
  if (!/^[ \t>]*(?:[-+*]|\d+[.)])/m.test(source.slice(0, start))) return undefined;
  let at = start;
  const lines = body.split("\n");
  for (const [index, line] of lines.entries()) {
    // A blank line may have been put before an ordered item.
    const inserted = /^[\s>]*$/.test(line) && /^[ \t>]*\d+[.)]/.test(lines[index + 1] ?? "");
    if (inserted && !/^\n[ \t>\r]*\n/.test(source.slice(at, at + 400))) continue;
    if (index > 0) {
      if (source[at] !== "\n") return undefined;
      at += 1;
    }
    const ours = marginOf(line);
    const theirs = marginOf(source.slice(at, at + 400));
    const dedents = markersIn(ours) === markersIn(theirs) && ours.length <= theirs.length;
    const content = dedents ? line.slice(ours.length) : line;
    if (dedents) at += theirs.length;
    if (!source.startsWith(content, at)) return undefined;
    at += content.length;
  }
  return at;
}

const marginOf = (line: string): string => /^[ \t>]*/.exec(line)?.[0] ?? "";
const markersIn = (margin: string): number => margin.replaceAll(/[^>]/g, "").length;

/** Lengths of what the part may have before its slice. */
function headsOf(part: string, before: string): number[] {
  const heads = new Set([0, /^(?:[ ]{0,3}> ?)*/.exec(part)?.[0].length ?? 0]);
  const lines = part.split("\n");
  const first = lines[0] ?? "";
  const second = lines[1] ?? "";
  const stands = (line: string): boolean => bareLines(before).has(bare(line));
  if (/^(?:`{3}|~{3})/.test(bare(first)) && stands(first)) {
    const length = first.length + 1;
    heads.add(length).add(length + (/^[ \t>]*/.exec(second)?.[0].length ?? 0));
    for (let more = 1; more <= 8; more += 1) if (/^[ \t>]+$/.test(second.slice(0, more))) heads.add(length + more);
  }
  if (first.includes("|") && /^[-|: \t]+$/.test(bare(second)) && stands(first) && stands(second)) {
    const length = first.length + second.length + 2;
    heads.add(length);
    const cells = /^[ \t>]*(?:\| )+/.exec(lines[2] ?? "")?.[0] ?? "";
    for (let at = 0; at <= cells.length; at += 1) heads.add(length + at);
  }
  return [...heads].sort((a, b) => b - a);
}

function tailsOf(part: string, source: string): number[] {
  const last = part.slice(part.lastIndexOf("\n") + 1);
  const fence = /^(`{3,}|~{3,})$/.exec(bare(last));
  const newline = part.at(-last.length - 2) === "\r" ? 2 : 1;
  return fence && source.includes(bare(last)) ? [last.length + newline, 0] : [0];
}

const bareLines = (text: string): Set<string> => new Set(text.split("\n").map(bare));

/** A line without its containers: quote markers, list markers, indentation. */
const bare = (line: string): string => line.trimEnd().replace(/^(?:[\s>]|[-+*](?=\s)|\d+[.)](?=\s))*/, "");
