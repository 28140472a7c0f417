import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { describe, expect, test } from "vitest";
import { resolveAccount } from "../src/accounts.ts";
import { unreadSettings } from "../src/settings.ts";
import { notesOn } from "../src/group-notes.ts";
import { admitGroup, readGroups, settingsOf, withGroupAgent } from "../src/groups.ts";

const GROUP = "cidMixedCASE+aB/x9Zq==";
const admit = (groupPolicy: "open" | "allowlist" | "disabled", groupAllowFrom: string[], groups: object = {}) => {
  const { policy, senders } = admitGroup({ groupPolicy, groupAllowFrom, groups: readGroups(groups) }, GROUP);
  return [policy, senders];
};

describe("who may ask in a group", () => {
  test.for([
    ["open", "open", [], {}, "open", []],
    ["an empty list: nobody", "allowlist", [], {}, "allowlist", []],
    ["people, in every group", "allowlist", ["staff001"], {}, "allowlist", ["staff001"]],
    ["the group by its id: its members", "allowlist", [GROUP], {}, "open", []],
    ["the group by its id, in words", "allowlist", [`dingtalk:group:${GROUP}`], {}, "open", []],
    ["an id that differs by case only", "allowlist", [GROUP.toLowerCase()], {}, "allowlist", []],
    ["the same id as a person's: not the group", "allowlist", [`user:${GROUP}`], {}, "allowlist", [`user:${GROUP}`]],
    ["the group has settings of its own", "allowlist", [], { [GROUP]: {} }, "open", []],
    ["settings do not widen a list of people", "allowlist", ["staff001"], { [GROUP]: {} }, "allowlist", ["staff001"]],
    ["* is no group", "allowlist", [], { "*": { requireMention: true } }, "allowlist", []],
    ["disabled, whatever else is said", "disabled", [GROUP, "*"], { [GROUP]: { enabled: true } }, "disabled", []],
    ["its own people", "open", [], { [GROUP]: { allowFrom: ["staff002"] } }, "allowlist", ["staff002"]],
    ["its own people, none", "open", ["*"], { [GROUP]: { allowFrom: [] } }, "allowlist", []],
    ["its own people come first", "allowlist", ["a"], { [GROUP]: { allowFrom: ["b"] } }, "allowlist", ["b"]],
    ["people for every group open none", "allowlist", ["a"], { "*": { allowFrom: ["b"] } }, "allowlist", []],
    ["people for every group narrow", "allowlist", ["a", "b"], { "*": { allowFrom: ["b"] } }, "allowlist", ["b"]],
    ["a group among its people is nobody", "open", [], { [GROUP]: { allowFrom: [GROUP] } }, "allowlist", []],
  ] as const)("%s", ([, groupPolicy, groupAllowFrom, groups, policy, senders]) => {
    expect(admit(groupPolicy, [...groupAllowFrom], groups)).toEqual([policy, senders]);
  });
});

describe("the settings of a group", () => {
  const groups = readGroups({
    "*": { requireMention: false, agent: "coder" },
    [`conversation:${GROUP}`]: { enabled: false, agent: " writer " },
    __proto__: { enabled: false },
  });

  test("complete those of *", () => {
    expect(settingsOf(groups, GROUP)).toEqual({ enabled: false, requireMention: false, agent: "writer" });
    expect(settingsOf(groups, GROUP.toLowerCase())).toEqual({ requireMention: false, agent: "coder" });
  });

  test("without any, a group is on and wants a mention", () => {
    const rules = { groupPolicy: "open" as const, groupAllowFrom: [], groups: readGroups(undefined) };
    expect(admitGroup(rules, GROUP)).toMatchObject({ enabled: true, requireMention: true });
  });

  test("of an account stand instead of those of the top level", () => {
    const dingtalk = { groups: { [GROUP]: { agent: "a" } }, accounts: { second: { groups: { "*": { agent: "b" } } } } };
    const of = (id: string) => settingsOf(resolveAccount({ channels: { dingtalk } }, id, {}).groups, GROUP);
    expect([of("default"), of("second")]).toEqual([{ agent: "a" }, { agent: "b" }]);
  });

  test("that nobody reads are named", () => {
    const dingtalk = { groups: { "*": { agentId: "x" } }, accounts: { second: { groups: { c: { alowFrom: [] } } } } };
    expect(unreadSettings({ channels: { dingtalk } }).unknown).toEqual([
      "groups.*.agentId",
      "accounts.second.groups.c.alowFrom",
    ]);
  });
});

describe("the agent of a group", () => {
  const account = { accountId: "default", groups: readGroups({ [GROUP]: { agent: "coder" } }) };
  const cfg: OpenClawConfig = {};

  test("is a binding before all others", () => {
    expect(withGroupAgent(cfg, account, { kind: "group", id: GROUP }).bindings).toEqual([
      {
        agentId: "coder",
        match: { channel: "dingtalk", accountId: "default", peer: { kind: "group", id: GROUP } },
      },
    ]);
  });

  test("leaves other conversations alone", () => {
    expect(withGroupAgent(cfg, account, { kind: "direct", id: GROUP })).toBe(cfg);
    expect(withGroupAgent(cfg, account, { kind: "group", id: "cidOther" })).toBe(cfg);
  });

  test("is named when it does not exist", () => {
    const notes = (agents: OpenClawConfig["agents"]) => notesOn({ ...(agents && { agents }) }, account);
    expect(notes({ entries: { coder: {} } })).toEqual([]);
    expect(notes(undefined)).toEqual([]);
    expect(notes({ entries: { main: {} } })).toEqual([expect.stringContaining('"coder"')]);
  });

  test("a mention that is not required is said to change little", () => {
    expect(notesOn({}, { groups: readGroups({ "*": { requireMention: false } }) })).toEqual([
      expect.stringContaining("groups.*.requireMention is false, but DingTalk sends"),
    ]);
  });
});
