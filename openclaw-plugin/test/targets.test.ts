import fc from "fast-check";
import { expect, test } from "vitest";
import { looksLikeTarget, normalizeTarget, targetOfSession, targetProblem } from "../src/targets.ts";

test.for([
  ["user:Staff001", "user:Staff001"],
  ["dingtalk:user:Staff001", "user:Staff001"],
  ["DingTalk: dingtalk:group:cidAbC==", "conversation:cidAbC=="],
  ["conversation:cidAbC+/==", "conversation:cidAbC+/=="],
  ["CHANNEL:cidAbC==", "conversation:cidAbC=="],
  ["dm:Staff001", "user:Staff001"],
  ["cidAbC==", "conversation:cidAbC=="],
  ["Staff001", "user:Staff001"],
  ["user:zhangsan", "user:zhangsan"],
  ["conversation:with:colon", "conversation:with:colon"],
  ["two words", undefined],
  ["user:", undefined],
  ["user:*", undefined],
  ["*", undefined],
  ["@zhangsan", undefined],
  ["mailto:someone", undefined],
  ["agent:main:dingtalk:group:cidabc==", undefined],
  ["", undefined],
] as const)("target %j is %j", ([raw, target]) => {
  expect(normalizeTarget(raw)).toBe(target);
});

test.for([
  ["user:zhangsan", true],
  ["staff001", true],
  ["0123456789", true],
  ["dingtalk:cidAbC==", true],
  ["zhangsan", false],
  ["张三", false],
  ["two words", false],
  ["agent:main:main", false],
] as const)("%j can be nothing but an id: %j", ([raw, is]) => {
  expect(looksLikeTarget(raw)).toBe(is);
});

const id = fc.stringMatching(/^[A-Za-z0-9+/=_:.@$-]{1,64}$/);
const prefix = fc.constantFrom("", "dingtalk:", "DINGTALK:", "dingtalk: ");

test("whatever stands before it, an id is kept to the letter, and what came out goes in again", () => {
  fc.assert(
    fc.property(prefix, fc.constantFrom("user", "conversation", "group", "channel", "dm"), id, (before, kind, it) => {
      const target = normalizeTarget(`${before}${kind}:${it}`);
      expect(target?.slice(target.indexOf(":") + 1)).toBe(it);
      expect(normalizeTarget(target ?? "")).toBe(target);
      expect(looksLikeTarget(target ?? "")).toBe(true);
    }),
  );
});

test("an id out of a session's key is refused with the reason", () => {
  const target = targetOfSession("cidabc==");
  expect(normalizeTarget(target)).toBeUndefined();
  expect(targetProblem(target)).toMatch(/session key.*lower-cased.*conversation:<conversationId>/);
  expect(targetProblem("")).toMatch(/^no target is given: use user:<staffId>/);
  expect(targetProblem("two words")).toMatch(/^"two words" is no target: .*openclaw logs/);
});
