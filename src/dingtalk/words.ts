import { objectOf } from "./json.ts";

/** The three places where a message's content can be, whatever its type says. */
export interface Fields {
  content: unknown;
  text: unknown;
  richText: unknown;
}

const MAX_NESTING = 3;

/** An object or list in a string that describes a file: not words, and download codes stay inside the bridge. */
const DOWNLOAD_CODE_IN_JSON = /^\s*[{[].*downloadCode/is;

/**
 * The words in a text field: the string itself, or the `content` or `text` of an object (or of an object written as a
 * JSON string), in which a string is taken as it is: it is what somebody typed, even where it looks like JSON.
 * Prefers visible words; blank ones are better than none. Undefined: there is no string.
 */
export function wordsOf(value: unknown, nesting = 0): string | undefined {
  if (typeof value === "string" && nesting > 0) return value.toWellFormed();
  const found: string[] = [];
  const object = nesting < MAX_NESTING ? objectOf(value) : undefined;
  if (object !== undefined) {
    for (const field of [object.content, object.text]) {
      const words = wordsOf(field, nesting + 1);
      if (words !== undefined) found.push(words);
    }
  }
  if (typeof value === "string" && !DOWNLOAD_CODE_IN_JSON.test(value)) found.push(value.toWellFormed());
  return found.find((words) => words.trim() !== "") ?? found[0];
}
