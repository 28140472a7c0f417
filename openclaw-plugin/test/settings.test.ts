import { readFileSync } from "node:fs";
import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { describe, expect, test } from "vitest";
import { ACCOUNT_SETTINGS, TOP_LEVEL_SETTINGS, unreadSettingLines, unreadSettings } from "../src/settings.ts";
import { readSetupInput } from "../src/setup-input.ts";

const read = (file: string): unknown => JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), "utf8"));
const config = (dingtalk: object): OpenClawConfig => ({ channels: { dingtalk } });

describe("the manifest", () => {
  const { channelConfigs } = read("openclaw.plugin.json") as {
    channelConfigs: {
      dingtalk: {
        schema: {
          properties: Record<string, object> & { accounts: { additionalProperties: { properties: object } } };
        };
        uiHints: Record<string, { label?: string; sensitive?: boolean }>;
      };
    };
  };
  const { schema, uiHints } = channelConfigs.dingtalk;

  test("describes the settings that are read, no more and no fewer", () => {
    expect(Object.keys(schema.properties).sort()).toEqual([...ACCOUNT_SETTINGS, ...TOP_LEVEL_SETTINGS].sort());
    expect(Object.keys(schema.properties.accounts.additionalProperties.properties).sort()).toEqual(
      [...ACCOUNT_SETTINGS].sort(),
    );
  });

  test("has a label for each, and hides each secret", () => {
    const ofGroups = ["enabled", "requireMention", "allowFrom", "agent"].map((key) => `groups.*.${key}`);
    const ofAccounts = ACCOUNT_SETTINGS.map((key) => `accounts.*.${key}`);
    const all = [...ACCOUNT_SETTINGS, ...TOP_LEVEL_SETTINGS, ...ofGroups, ...ofAccounts];
    expect(Object.keys(uiHints).sort()).toEqual(all.sort());
    expect(all.filter((key) => !uiHints[key]?.label)).toEqual([]);
    const secrets = all.filter((key) => /(?:Secret|Token)$/.test(key));
    expect(all.filter((key) => uiHints[key]?.sensitive === true)).toEqual(secrets);
  });
});

test("every flag of `channels add` is read", () => {
  const { openclaw } = read("package.json") as {
    openclaw: { channel: { setup: { fields: { key: string; kind: string; cli: { flags: string } }[] } } };
  };
  const { fields } = openclaw.channel.setup;
  for (const { key, kind, cli } of fields) {
    const long = cli.flags.split(" ")[0]?.slice(2) ?? "";
    expect(long.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())).toBe(key);
    expect(Object.values(readSetupInput({ [key]: kind === "boolean" ? true : "said" })), key).toHaveLength(1);
  }
});

describe("settings without effect", () => {
  const dingtalk = {
    appKey: "dingtop",
    robotCode: "dingtop",
    historyLimit: 5,
    dmPolcy: "pairing",
    accounts: { a: { alowFrom: [], messageType: "card", defaultAccount: "a" } },
  };

  test("those of other DingTalk plugins are told from misspelt ones", () => {
    expect(unreadSettings(config(dingtalk))).toEqual({
      foreign: ["robotCode", "accounts.a.messageType"],
      unknown: ["dmPolcy", "accounts.a.alowFrom", "accounts.a.defaultAccount"],
    });
  });

  test("are one line each, and none when all is read", () => {
    expect(unreadSettingLines(config(dingtalk))).toEqual({
      info: [expect.stringContaining("robotCode, accounts.a.messageType")],
      warn: [expect.stringContaining("dmPolcy, accounts.a.alowFrom")],
    });
    expect(unreadSettingLines(config({ appKey: "dingtop" }))).toEqual({ info: [], warn: [] });
  });
});
