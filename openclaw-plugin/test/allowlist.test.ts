import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conversationOf, intersect, readEntry, readList, senderOf } from "../src/allowlist.ts";

/** As DingTalk gives them: opaque, case-sensitive, with `+`, `/`, `=`, `$` and `:` in them. */
const text = fc.string({ unit: fc.constantFrom(..."abcXYZ019+/=_-$"), minLength: 1, maxLength: 12 });
const conversationId = text.map((rest) => `cid${rest}`);
const staffId = text.filter((id) => !id.startsWith("cid"));
const channel = fc.constantFrom("", "dingtalk:");
const space = fc.constantFrom("", " ", "\t");

describe("an entry", () => {
  test("means exactly the person it names, whatever stands before the id", () => {
    fc.assert(
      fc.property(space, channel, fc.constantFrom("", "user:"), staffId, (blank, prefix, word, id) => {
        const entry = `${blank}${prefix}${word}${id}${blank}`;
        expect(senderOf(entry)).toBe(id);
        expect(conversationOf(entry)).toBeNull();
      }),
    );
  });

  test("means exactly the conversation it names, whatever stands before the id", () => {
    fc.assert(
      fc.property(channel, fc.constantFrom("", "conversation:", "group:"), conversationId, (prefix, word, id) => {
        expect(conversationOf(`${prefix}${word}${id}`)).toBe(id);
        expect(senderOf(`${prefix}${word}${id}`)).toBeNull();
      }),
    );
  });

  test("is never both, and never another one's", () => {
    const entry = fc.oneof(staffId, conversationId, fc.string());
    fc.assert(
      fc.property(entry, fc.oneof(staffId, conversationId), (written, id) => {
        expect(senderOf(written) === id && conversationOf(written) === id).toBe(false);
        if (!written.includes(id)) expect([senderOf(written), conversationOf(written)]).not.toContain(id);
      }),
    );
  });

  test("differs by the case of a letter", () => {
    fc.assert(
      fc.property(
        fc.oneof(staffId, conversationId).filter((id) => id !== id.toUpperCase()),
        (id) => {
          expect(senderOf(id.toUpperCase())).not.toBe(id);
          expect(conversationOf(id.toUpperCase())).not.toBe(id);
        },
      ),
    );
  });

  test.for([
    ["an id that DingTalk encrypts", "$:LWCP_v1:$abc", { kind: "sender", id: "$:LWCP_v1:$abc" }],
    ["a person, in so many words", "user:cidlooking", { kind: "sender", id: "cidlooking" }],
    ["a group whose id looks like a person's", "group:abc", { kind: "conversation", id: "abc" }],
    ["nothing behind the words", "dingtalk:user: ", undefined],
    ["everybody", "*", { kind: "sender", id: "*" }],
    ["an access group, which OpenClaw resolves", "accessGroup:ops", { kind: "sender", id: "accessGroup:ops" }],
  ] as const)("%s", ([, entry, read]) => {
    expect(readEntry(entry)).toEqual(read);
  });
});

test.for([
  ["both", ["a", "b"], ["b", "c"], ["b"]],
  ["written in two ways", ["user:a"], ["dingtalk:a"], ["user:a"]],
  ["everybody and some", ["*"], ["a"], ["a"]],
  ["some and everybody", ["a"], ["*"], ["a"]],
  ["some and nobody", ["a"], [], []],
] as const)("what two lists allow: %s", ([, one, other, both]) => {
  expect(intersect(one, other)).toEqual(both);
});

test("what is no list allows nobody", () => {
  expect(readList(undefined)).toBeUndefined();
  expect(readList("staff001")).toEqual([]);
  expect(readList([" staff001 ", 42, ""])).toEqual(["staff001", "42"]);
});
