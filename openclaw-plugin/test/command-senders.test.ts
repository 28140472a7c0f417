import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { describe, expect, test } from "vitest";
import { approvalCapability } from "../src/approvals.ts";
import { commandSenders, ownersOf } from "../src/command-senders.ts";

const ask = (commands: object, text: string, listed?: string[]) =>
  commandSenders({
    cfg: { commands } as OpenClawConfig,
    text,
    isCommand: text.startsWith("/"),
    isGroup: listed !== undefined,
    listed: listed ?? [],
  });
const OWNED = { ownerAllowFrom: ["dingtalk:staff001"] };

describe("whose commands are obeyed", () => {
  test.for([
    ["directly, everybody who is let in", {}, "/status", undefined, "everybody"],
    ["in a group, whoever is on a list", {}, "/status", ["staff002"], ["staff002"]],
    ["with an owner, the owner", OWNED, "/status", undefined, ["dingtalk:staff001"]],
    ["with an owner, the owner, in a group", OWNED, "/status", ["staff002"], ["dingtalk:staff001"]],
    ["a new conversation is everybody's", OWNED, "/new", undefined, "everybody"],
    ["a new conversation in a group", OWNED, "/reset soft", ["staff002"], ["dingtalk:staff001", "staff002"]],
    ["no command: directives of whoever is let in", OWNED, "hello", undefined, "everybody"],
    ["a list of those who may command is the only one", { ...OWNED, allowFrom: { "*": ["a"] } }, "/new", ["b"], ["a"]],
    ["one for DingTalk comes first", { allowFrom: { "*": ["a"], dingtalk: [] } }, "/status", ["b"], []],
    ["one for another channel is none", { allowFrom: { telegram: ["a"] } }, "/status", undefined, "everybody"],
  ] as const)("%s", ([, commands, text, listed, senders]) => {
    expect(ask(commands, text, listed && [...listed])).toEqual(senders);
  });

  test("owners are people of this channel", () => {
    const ownerAllowFrom = [
      "telegram:1",
      "dingtalk:staff001",
      "user:staff002",
      "staff003",
      "*",
      "dingtalk:*",
      "cidGroup",
    ];
    expect(ownersOf({ commands: { ownerAllowFrom } })).toEqual(["dingtalk:staff001", "user:staff002", "staff003"]);
  });
});

describe("who may approve", () => {
  const may = (senderId: string, commands = {}) =>
    approvalCapability.authorizeActorAction?.({
      cfg: { commands } as OpenClawConfig,
      senderId,
      action: "approve",
      approvalKind: "exec",
    });

  test("an owner, and nobody else", () => {
    expect(may("staff001", OWNED)).toEqual({ authorized: true });
    expect(may("staff002", OWNED)).toEqual({ authorized: false, reason: "❌ Only an owner may approve." });
  });

  test("as long as nobody is owner, nobody; the mend is said", () => {
    expect(may("staff001")).toMatchObject({
      authorized: false,
      reason: expect.stringContaining(`openclaw config set commands.ownerAllowFrom '["dingtalk:staff001"]'`),
    });
  });
});
