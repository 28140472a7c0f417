import * as fc from "fast-check";

/*
 * Bodies as nobody sent them yet: fields taken away, replaced and retyped anywhere, keys that name prototypes, strings
 * written as JSON, huge and broken strings.
 */

const NAMES =
  "msgtype msgType text content richText richTextList repliedMsg isReplyMsg quoteMessage downloadCode recognition " +
  "duration fileName chatRecord summary title atUsers children conversationType createAt senderId senderStaffId " +
  "errorCode cardContent skillData type __proto__ constructor prototype toString hasOwnProperty";
const KINDS = "text richText picture audio video file markdown actionCard interactiveCard chatRecord reply other";

const names = fc.constantFrom(...NAMES.split(" "));
const kinds = fc.constantFrom(...KINDS.split(" "));

const strings = fc.oneof(
  { weight: 100, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
  { weight: 100, arbitrary: fc.constantFrom("", " ", "\n", "@", "@a b", "at", "emoji", "skill", "1", "2", "20001") },
  { weight: 100, arbitrary: fc.constantFrom("\ud800", "a\udc00b", "\u0000", "{", "[", '{"text":"x"}', "[1,{}]", "-1") },
  { weight: 50, arbitrary: kinds },
  { weight: 1, arbitrary: fc.constant("好".repeat(100_000)) },
);

const leaves = fc.oneof(
  strings,
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constantFrom(null, -0, 1e308, 8.64e15, Number.MAX_SAFE_INTEGER + 1),
);

/** Any JSON value, rich in the names that the readers look for. */
export const anyJson: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: "small", withCrossShrink: true }, leaves, tie("list"), tie("object"), tie("written")),
  list: fc.array(tie("value"), { maxLength: 4 }),
  object: fc.array(fc.tuple(fc.oneof(names, fc.string()), tie("value")), { maxLength: 6 }).map(objectFrom),
  // What clients do: an object inside a string.
  written: tie("object").map((value) => JSON.stringify(value)),
})).value;

/** As JSON.parse does it: `__proto__` becomes a field like any other. */
function objectFrom(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (const [key, value] of entries) {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  }
  return object;
}

export const anyBody = fc
  .tuple(kinds, fc.array(fc.tuple(fc.oneof(names, fc.string()), anyJson), { maxLength: 8 }))
  .map(([kind, fields]) => objectFrom([["msgtype", kind], ...fields]));

type Change = { steps: number[]; how: "delete" | "replace" | "add" | "write" | "copy"; name: string; value: unknown };

const change: fc.Arbitrary<Change> = fc.record({
  steps: fc.array(fc.nat(40), { minLength: 1, maxLength: 6 }),
  how: fc.constantFrom("delete", "replace", "add", "write", "copy"),
  name: names,
  value: anyJson,
});

/** Walks `steps` into the value, each taken modulo the number of fields, and changes what it finds. */
function apply(root: Record<string, unknown>, { steps, how, name, value }: Change): void {
  let holder = root;
  let key = "";
  for (const step of steps) {
    const keys = Object.keys(holder);
    key = keys[step % Math.max(1, keys.length)] ?? "";
    const next = holder[key];
    if (typeof next !== "object" || next === null) break;
    if (step !== steps.at(-1)) holder = next as Record<string, unknown>;
  }
  const set = (field: string, content: unknown): void => {
    Object.defineProperty(holder, field, { value: content, enumerable: true, configurable: true, writable: true });
  };
  if (how === "delete" && Array.isArray(holder)) holder.splice(Number(key), 1);
  else if (how === "delete") Reflect.deleteProperty(holder, key);
  else if (how === "replace") set(key, value);
  else if (how === "write") set(key, JSON.stringify(holder[key]));
  else if (Array.isArray(holder)) holder.push(value);
  else set(name, how === "add" ? value : structuredClone(holder[key]));
}

/** One of the bodies with up to five changes. The bodies themselves are left alone. */
export function mutationsOf(bodies: readonly Record<string, unknown>[]): fc.Arbitrary<Record<string, unknown>> {
  return fc
    .tuple(fc.constantFrom(...bodies), fc.array(change, { minLength: 1, maxLength: 5 }))
    .map(([body, changes]) => {
      const copy = structuredClone(body);
      for (const one of changes) apply(copy, one);
      return copy;
    });
}
