import { stripVTControlCharacters } from "node:util";

const UNITS = ["B", "kB", "MB", "GB"] as const;

/** `12 kB`, `1.5 MB`: in thousands, as file managers count. */
export function sizeText(bytes: number): string {
  let [value, unit] = [bytes, 0];
  // 999.5 would be rounded to four digits.
  while (value >= 999.5 && unit < UNITS.length - 1) [value, unit] = [value / 1_000, unit + 1];
  const digits = unit > 0 && value < 9.95 ? value.toFixed(1).replace(/\.0$/, "") : String(Math.round(value));
  return `${digits} ${UNITS[unit]}`;
}

/** A text that cannot move the cursor, change colours or ring: what a robot says is not the terminal's to obey. */
export function harmless(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/[^\P{Cc}\n\t]/gu, "");
}

/** The beginning of a text in one line, for naming a message. */
export function headOf(text: string, length = 30): string {
  const letters = lettersOf(oneLine(text));
  return letters.length > length ? `${letters.slice(0, length).join("")}…` : letters.join("");
}

/** Columns that a line takes at most: every letter that is no ASCII counts as two. */
export function widthOf(line: string): number {
  return lettersOf(line).reduce((sum, letter) => sum + columnsOf(letter), 0);
}

/** The end of a text in one line of at most `columns`, by `widthOf`. */
export function tailOf(text: string, columns: number): string {
  const line = oneLine(text);
  if (widthOf(line) <= columns) return line;
  const letters = lettersOf(line);
  let left = columns - columnsOf(LEFT_OUT);
  let start = letters.length;
  for (; start > 0; start -= 1) {
    left -= columnsOf(letters[start - 1] ?? "");
    if (left < 0) break;
  }
  return `${LEFT_OUT}${letters.slice(start).join("")}`;
}

const LEFT_OUT = "…";
const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").trim();
const columnsOf = (letter: string): number => (letter < "\u0080" ? 1 : 2);

function lettersOf(line: string): string[] {
  return Array.from(new Intl.Segmenter("zh", { granularity: "grapheme" }).segment(line), ({ segment }) => segment);
}
