/*
 * Tolerant readers for DingTalk's bodies. None of them throws, whatever JSON they are given, and none recurses
 * deeper than it says: published bodies differ between client versions, and undocumented ones arrive every year.
 */

export type JsonObject = Readonly<Record<string, unknown>>;

/** JSON.stringify overflows the stack near 4,000 levels; DingTalk's deepest known body has 7. */
const MAX_DEPTH = 100;
const TOO_DEEP = "[nested too deeply]";

/** The last millisecond that ISO 8601 writes with a four-digit year. */
const LAST_TIME = 253_402_300_799_999;
/** Millisecond times before September 2001 are a sign of another unit or of nonsense. */
const FIRST_PLAUSIBLE_TIME = 1_000_000_000_000;

function parsed(value: unknown, opening: "{" | "["): unknown {
  if (typeof value !== "string" || !value.trimStart().startsWith(opening)) return undefined;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object, or an object written as a JSON string: clients send `content` either way (dingtalk-protocol.md §2.6). */
export function objectOf(value: unknown): JsonObject | undefined {
  const found = isObject(value) ? value : parsed(value, "{");
  return isObject(found) ? found : undefined;
}

/** An array, or an array written as a JSON string. */
export function listOf(value: unknown): readonly unknown[] | undefined {
  const found = Array.isArray(value) ? value : parsed(value, "[");
  return Array.isArray(found) ? found : undefined;
}

/**
 * The first value that is a string with something visible in it. Lone surrogates become U+FFFD: a strict JSON reader at
 * the gateway would refuse the whole envelope for one of them.
 */
export function stringOf(...values: readonly unknown[]): string | undefined {
  for (const value of values) {
    if (typeof value === "string" && value.trim() !== "") return value.toWellFormed();
  }
  return undefined;
}

/**
 * The first value that can be an id: opaque, so neither trimmed nor folded. A number beyond 2^53 has already lost digits
 * and would make two ids one.
 */
export function idOf(...values: readonly unknown[]): string | undefined {
  for (const value of values) {
    const id = Number.isSafeInteger(value) ? String(value) : stringOf(value);
    if (id !== undefined) return id;
  }
  return undefined;
}

/** Booleans arrive as booleans, `"1"`, 1 and `"true"`. Anything else is undefined: not said. */
export function flagOf(value: unknown): boolean | undefined {
  if (value === true || value === 1 || value === "1" || value === "true") return true;
  if (value === false || value === 0 || value === "0" || value === "false") return false;
  return undefined;
}

/** Epoch milliseconds from a number or a string of digits (the documentation says String, every sample is a number). */
export function timeOf(...values: readonly unknown[]): number | undefined {
  for (const value of values) {
    const time = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
    if (typeof time === "number" && time >= FIRST_PLAUSIBLE_TIME && time <= LAST_TIME) return Math.trunc(time);
  }
  return undefined;
}

/** ISO 8601 with milliseconds, for any number. */
export function isoTime(ms: number): string {
  return new Date(Number.isNaN(ms) ? 0 : Math.min(Math.max(ms, 0), LAST_TIME)).toISOString();
}

type Compact<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** The object without the fields that are undefined: the schema knows absent fields, not undefined ones. */
export function compact<T extends object>(fields: T): Compact<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Compact<T>;
}

const WITHHELD = new Set(["sessionWebhook", "sessionWebhookExpiredTime", "__proto__"]);

function copyOf(value: unknown, depth: number): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return TOO_DEEP;
  if (Array.isArray(value)) return value.map((item) => copyOf(item, depth + 1));
  return copyOfObject(value as JsonObject, depth);
}

function copyOfObject(value: JsonObject, depth: number): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (!WITHHELD.has(key)) copy[key.toWellFormed()] = copyOf(item, depth + 1);
  }
  return copy;
}

/**
 * A copy that can be stored and sent: without the session webhook (whoever has it can speak for the robot), without
 * `__proto__` keys, with well-formed strings, and cut at 100 levels so that JSON.stringify cannot overflow.
 */
export function withoutWebhook(body: JsonObject): Record<string, unknown> {
  return copyOfObject(body, 0);
}
