const GRAPHEMES = new Intl.Segmenter("zh", { granularity: "grapheme" });

/**
 * Rows in columns as wide as their widest cell, for people; the last column is not padded. Cells are one line each: whatever people
 * wrote goes through `oneLine` first.
 */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => widthOf(row[column] ?? ""))));
  return all.map((row) =>
    row
      .map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - widthOf(cell)))
      .join("  ")
      .trimEnd(),
  );
}

/** On one line, and without what a terminal would obey; cut after `most` characters. */
export function oneLine(text: string, most = 60): string {
  const plain = text.replaceAll(/\p{C}+/gu, " ").trim();
  const letters = [...GRAPHEMES.segment(plain.slice(0, most * 20))];
  if (letters.length <= most) return plain;
  return `${letters
    .slice(0, most - 1)
    .map(({ segment }) => segment)
    .join("")}…`;
}

/** Columns on a terminal: CJK and full-width forms take two. */
function widthOf(text: string): number {
  let width = 0;
  for (const letter of text)
    width +=
      /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]|[\u{1F300}-\u{1FAFF}\u{20000}-\u{3FFFD}]/u.test(
        letter,
      )
        ? 2
        : 1;
  return width;
}
