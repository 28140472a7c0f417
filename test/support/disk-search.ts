import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Which of the words stand in which files of a directory, its database's log and all below it included: `file: word`. */
export function wordsOnDisk(directory: string, words: readonly string[]): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .flatMap(({ name, parentPath }) => {
      const bytes = readFileSync(join(parentPath, name));
      return words.filter((word) => bytes.includes(word) || name.includes(word)).map((word) => `${name}: ${word}`);
    });
}
