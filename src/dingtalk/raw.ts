import { isObject, withoutWebhook, type JsonObject } from "./json.ts";

const REMOVED = "[removed]";
/** `downloadCode`, `pictureDownloadCode` and whatever client sends next. */
const CODE_KEY = /downloadcode$/i;
/** In a string that is no JSON, or only a piece of it: the quotes may be escaped any number of times. */
const CODE_IN_TEXT = /(downloadcode(?:\\*")\s*:\s*\\*")[^"\\]+/gi;

function scrubbedText(text: string): string {
  if (!/downloadcode/i.test(text)) return text;
  try {
    const parsed: unknown = JSON.parse(text);
    // By way of `withoutWebhook`, which cuts what is nested too deeply to be walked through.
    if (typeof parsed === "object" && parsed !== null)
      return JSON.stringify(scrubbed(withoutWebhook({ parsed })["parsed"]));
  } catch {
    // No JSON: what looks like a code in it goes all the same.
  }
  return text.replace(CODE_IN_TEXT, `$1${REMOVED}`);
}

function scrubbed(value: unknown): unknown {
  if (typeof value === "string") return scrubbedText(value);
  if (Array.isArray(value)) return value.map(scrubbed);
  return isObject(value) ? scrubbedObject(value) : value;
}

function scrubbedObject(value: JsonObject): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, CODE_KEY.test(key) ? REMOVED : scrubbed(item)]),
  );
}

/**
 * DingTalk's body as the gateway may see it: without the session webhook, and with "[removed]" for download codes, also in
 * the JSON strings that some clients send. Codes are temporary and bound to the robot's credentials: the file is in `parts`.
 */
export function rawOf(body: JsonObject): Record<string, unknown> {
  return scrubbedObject(withoutWebhook(body));
}
