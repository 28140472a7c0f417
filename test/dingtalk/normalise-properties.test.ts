import * as fc from "fast-check";
import { Compile } from "typebox/compile";
import { describe, expect, it } from "vitest";
import { buildEnvelope, mediaReferences, normaliseMessage } from "../../src/dingtalk/normalise.ts";
import { EnvelopeSchema } from "../../src/domain/envelope.ts";
import { anyBody, mutationsOf } from "../support/mutations.ts";
import { PAYLOAD_FILES, payloads } from "../support/payloads.ts";

const schema = Compile(EnvelopeSchema);
const receivedAt = Date.parse("2026-11-22T07:00:00.123Z");
const context = { account: "main", robotCode: "dingoxxxxdm3k", receivedAt, includeRaw: true };
const bodies = PAYLOAD_FILES.flatMap(payloads).map(({ body }) => body);
const group = { msgtype: "text", msgId: "m", conversationId: "c", conversationType: "2" };

const LONE_SURROGATE = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

/** What is wrong with what becomes of a body: nothing, for any body, and above all no exception. */
function faults(body: Record<string, unknown>): unknown[] {
  const before = JSON.stringify(body);
  const normalised = normaliseMessage(body, context);
  const sent = JSON.stringify(buildEnvelope(normalised, { attempt: 1, now: receivedAt + 1 }));
  const received: unknown = JSON.parse(sent);
  const found: unknown[] = schema.Check(received) ? [] : [...schema.Errors(received)];
  // A strict JSON reader refuses the whole envelope for one of them.
  if (!sent.isWellFormed() || LONE_SURROGATE.test(sent)) found.push("a lone surrogate was sent");
  if (normalised.message.text !== normalised.message.text.trim()) found.push("the text is not trimmed");
  for (const { path } of mediaReferences(body)) {
    const part = path.reduce<unknown>((at, step) => (at as Record<string | number, unknown>)[step], normalised.message);
    if (part === undefined) found.push("a reference leads nowhere");
  }
  if (JSON.stringify(body) !== before) found.push("the body was changed");
  return found;
}

describe("any body", () => {
  it("becomes a valid envelope, whatever JSON it is", () => {
    fc.assert(
      fc.property(anyBody, (body) => {
        expect(faults(body)).toEqual([]);
      }),
      { numRuns: 10_000 },
    );
  });

  it("becomes a valid envelope, whatever happened to a known one", () => {
    fc.assert(
      fc.property(mutationsOf(bodies), (body) => {
        expect(faults(body)).toEqual([]);
      }),
      { numRuns: 10_000 },
    );
  });

  it("leaves the prototypes alone", () => {
    const body = JSON.parse('{"__proto__":{"polluted":1},"text":{"__proto__":{"polluted":1},"content":"x"}}') as Record<
      string,
      unknown
    >;
    const { message } = normaliseMessage(body, context);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect((message.raw as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});

describe("words", () => {
  const broken = fc.string({ unit: fc.constantFrom("a", "好", " ", "\ud83d", "\ude00") });
  const words = fc.oneof(broken, fc.string({ unit: "grapheme" }), fc.string({ unit: "binary" }), fc.json());

  it("of a text are all kept", () => {
    fc.assert(
      fc.property(words, fc.boolean(), (content, direct) => {
        const body = { ...group, conversationType: direct ? "1" : "2", text: { content } };
        const { text, parts } = normaliseMessage(body, context).message;
        expect(text).toBe(content.toWellFormed().trim());
        expect(parts).toEqual([{ type: "text", text: content.toWellFormed() }]);
      }),
      { numRuns: 2_000 },
    );
  });

  it("of a rich text are all kept, in order", () => {
    const element = fc.oneof(
      words.map((text) => ({ text })),
      words.map((content) => ({ msgType: "text", content })),
      fc.constant({ type: "picture", downloadCode: "c" }),
    );
    fc.assert(
      fc.property(fc.array(element, { minLength: 1 }), (richText) => {
        const body = { ...group, msgtype: "richText", content: { richText } };
        const { parts } = normaliseMessage(body, context).message;
        const said = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
        const sent = richText.map((item) => ("text" in item ? item.text : "content" in item ? item.content : ""));
        // A message in which nothing could be read says so itself.
        fc.pre(sent.join("") !== "" || parts.length === 0 || richText.some((item) => "type" in item));
        expect(said.replaceAll("\n", "")).toBe(
          sent
            .map((it) => it.toWellFormed())
            .join("")
            .replaceAll("\n", ""),
        );
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("size", () => {
  const repeat = (item: object): object[] => Array.from({ length: 20_000 }, () => ({ ...item }));
  const big = "好@a:b\n ".repeat(30_000);

  it.each([
    ["text", { text: { content: big } }],
    ["richText", { content: { richText: repeat({ type: "at", atName: "a" }) } }],
    ["richText", { content: { richText: [{ text: `@${big}` }] } }],
    ["richText", { content: JSON.stringify({ richText: [{ text: "@".repeat(200_000) }] }) }],
    ["chatRecord", { content: { summary: big, chatRecord: JSON.stringify(repeat({ content: "x" })) } }],
    ["audio", { content: { duration: "9".repeat(200_000), recognition: big } }],
    ["actionCard", { content: { actionUrlItemList: repeat({ title: "t", actionUrl: "u" }) } }],
    [big, { content: big }],
  ])("does not matter: case %#", (msgtype, fields) => {
    expect(faults({ ...group, ...fields, msgtype })).toEqual([]);
  });

  it.each([
    ["richText", "richText"],
    ["chatRecord", "chatRecord"],
    ["text", "repliedMsg"],
    ["interactiveCard", "cardContent"],
    ["unheard", "content"],
  ])("of the nesting does not matter either: %s in %s", (msgtype, field) => {
    const levels = 10_000;
    const layers = ["content", "text", "children", "richText", "chatRecord", "repliedMsg"].map(
      (name) => JSON.parse(`{"${name}":`.repeat(levels) + '{"value":"x"}' + "}".repeat(levels)) as unknown,
    );
    const lists = JSON.parse("[".repeat(levels) + "]".repeat(levels)) as unknown;
    const forward = '{"msgType":"chatRecord","content":{"title":"x","chatRecord":[';
    const forwards = JSON.parse(forward.repeat(levels) + "]}}".repeat(levels)) as unknown;
    for (const deep of [...layers, lists, forwards]) {
      const body = { ...group, msgtype, text: deep, content: { [field]: deep, chatRecord: [deep] } };
      const envelope = buildEnvelope(normaliseMessage(body, context), { attempt: 1, now: receivedAt });
      expect(schema.Check(JSON.parse(JSON.stringify(envelope)))).toBe(true);
    }
  });
});
