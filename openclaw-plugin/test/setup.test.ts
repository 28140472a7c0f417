import fc from "fast-check";
import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { describe, expect, test } from "vitest";
import { resolveAccount } from "../src/accounts.ts";
import { prepareFor } from "../src/setup-audience.ts";
import { lastWords } from "../src/setup-check.ts";
import { createSetup } from "../src/setup-flags.ts";
import { deleteAccount, setAccountEnabled, setupAccountId, writeAccount, writeSetting } from "../src/setup-config.ts";
import {
  accountIdProblem,
  bridgeTokenProblem,
  bridgeUrlProblem,
  problemOf,
  readSetupInput,
} from "../src/setup-input.ts";

const config = (dingtalk: object, rest: object = {}): OpenClawConfig =>
  ({ ...rest, channels: { dingtalk } }) as OpenClawConfig;
const section = (cfg: OpenClawConfig): unknown => cfg.channels?.["dingtalk"];
const ONE = { appKey: "dingone", appSecret: "secret-one" };
const TWO = { appKey: "dingtwo", appSecret: "secret-two" };

describe("what is told", () => {
  test.for([
    [{ appKey: " " }, /^The App Key is empty/],
    [{ appKey: "ding one" }, /^The App Key has a space/],
    [{ appSecret: "" }, /^The App Secret is empty/],
    [{ appSecret: "a b" }, /^The App Secret has a space/],
    [{ bridgeUrl: "bridge:8790" }, /bridge address "bridge:8790" is not an http/],
    [{ bridgeUrl: "http://me:word@bridge" }, /leave user name, password/],
    [{ bridgeToken: "short" }, /shorter than 16 characters/],
    [{ owner: "*" }, /one DingTalk user id/],
    [{ restrictTools: true }, /--audience team/],
    [{ owner: "staff001" }, /^--owner goes with --audience team/],
    [{ owner: "staff001", audience: "me" }, /^--owner goes with --audience team/],
    [{ owner: "staff001", audience: "team" }, undefined],
    [{ ...ONE, bridgeUrl: "", bridgeToken: "", owner: "" }, undefined],
  ] as const)("%j", ([told, problem]) => {
    const said = problemOf(readSetupInput(told));
    if (problem) expect(said).toMatch(problem);
    else expect(said).toBeUndefined();
  });

  test("the environment is offered to the main account alone: it is nobody else's", () => {
    const { validateInput } = createSetup({ env: {}, userAgent: "test" });
    const missing = (accountId: string) => validateInput?.({ cfg: {}, accountId, input: {} });
    expect(missing("main")).toMatch(/no --app-key and no --app-secret: .*--use-env\.$/);
    expect(missing("second")).toMatch(/no --app-key and no --app-secret: .*凭证与基础信息\.$/);
  });

  test("no problem repeats a secret", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 3 }), (secret) => {
        const clean = `§${secret}§`;
        const told = [problemOf({ appSecret: clean }), bridgeTokenProblem(clean)].join();
        expect(told).not.toContain(clean);
      }),
    );
  });

  test("addresses that pass are addresses", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((rest) => `http://${rest}`),
        ),
        (address) => {
          if (bridgeUrlProblem(address) !== undefined || address.trim() === "") return;
          expect(new URL(address.trim()).protocol).toMatch(/^https?:$/);
        },
      ),
    );
  });

  test("account ids are the bridge's", () => {
    expect(["main", "a-1_b", "a".repeat(32)].map(accountIdProblem)).toEqual([undefined, undefined, undefined]);
    for (const id of ["", "Main", "a.b", "-a", "a".repeat(33)]) expect(accountIdProblem(id)).toContain("account id");
  });
});

describe("where an account is written", () => {
  test("the first one: as the documentation of OpenClaw's channels shows it", () => {
    expect(setupAccountId({}, undefined)).toBe("main");
    expect(section(writeAccount({}, "main", { ...ONE, botName: "Helper" }))).toEqual({
      enabled: true,
      dmPolicy: "pairing",
      accounts: { main: { ...ONE, botName: "Helper" } },
    });
  });

  test("again: what is not told stays", () => {
    const before = { enabled: true, dmPolicy: "open", robotCode: "x", accounts: { main: { ...ONE, allowFrom: [1] } } };
    const after = section(writeAccount(config(before), "main", { appSecret: "new" }));
    expect(after).toEqual({ ...before, accounts: { main: { ...ONE, appSecret: "new", allowFrom: [1] } } });
  });

  test("what stands at the top level stays there, under its own names, and its policy is not touched", () => {
    const before = config({ clientId: "dingold", clientSecret: "old", enabled: false });
    expect(setupAccountId(before, "main")).toBe("default");
    expect(section(writeAccount(before, "default", ONE))).toEqual({
      enabled: true,
      clientId: "dingone",
      clientSecret: "secret-one",
    });
  });

  test("a second one changes nothing for the first", () => {
    const before = config({ ...ONE, bridgeUrl: "http://one:1" });
    const after = writeAccount(before, "second", { ...TWO, bridgeUrl: "http://two:2" });
    expect(section(after)).toEqual({
      ...ONE,
      enabled: true,
      bridgeUrl: "http://one:1",
      accounts: { second: { ...TWO, dmPolicy: "pairing", bridgeUrl: "http://two:2" } },
    });
    expect(resolveAccount(after, "default", {})).toEqual(resolveAccount(before, "default", {}));
  });

  test("a setting is changed where it holds", () => {
    const own = config({ dmPolicy: "open", accounts: { main: { ...ONE, dmPolicy: "open" } } });
    expect(resolveAccount(writeSetting(own, "main", "dmPolicy", "pairing"), "main", {}).dmPolicy).toBe("pairing");
    expect(section(writeSetting(config({ dmPolicy: "open", ...ONE }), "default", "dmPolicy", undefined))).toEqual(ONE);
  });

  test("switched off and deleted", () => {
    const both = config({ ...ONE, accounts: { second: TWO } });
    expect(resolveAccount(setAccountEnabled(both, "default", false), "default", {}).enabled).toBe(false);
    expect(section(setAccountEnabled(both, "second", false))).toMatchObject({
      accounts: { second: { enabled: false } },
    });
    expect(section(deleteAccount(both, "second"))).toEqual({ ...ONE, accounts: {} });
    expect(section(deleteAccount(both, "default"))).toEqual({ accounts: { second: TWO } });
    expect(section(deleteAccount(config({ accounts: { main: ONE } }), "main"))).toBeUndefined();
  });
});

describe("for whom", () => {
  const first = writeAccount({}, "main", ONE);
  const team = { audience: "team", owner: "", restrictTools: false } as const;

  test("a team: conversations apart, one answer per message, no group before the tools are restricted", () => {
    const { cfg, lines } = prepareFor(first, "main", team);
    expect(cfg).toMatchObject({
      session: { dmScope: "per-channel-peer" },
      messages: { queue: { mode: "followup" } },
      channels: { dingtalk: { groupPolicy: "allowlist" } },
    });
    expect(cfg.commands).toBeUndefined();
    expect(cfg.tools).toBeUndefined();
    expect(lines.join("\n")).toContain("Nobody in DingTalk is owner yet");
  });

  test("a team with an owner and restricted tools", () => {
    const { cfg } = prepareFor({ ...first, tools: { profile: "full" } }, "main", {
      ...team,
      owner: "staff001",
      restrictTools: true,
    });
    expect(cfg).toMatchObject({
      commands: { ownerAllowFrom: ["dingtalk:staff001"] },
      tools: { profile: "messaging", deny: ["gateway"], elevated: { enabled: false } },
      channels: { dingtalk: { groupPolicy: "open", allowFrom: ["staff001"] } },
    });
  });

  test("what is set already is kept, and said", () => {
    const set = { session: { dmScope: "per-peer" }, messages: { queue: { mode: "collect" } } };
    const before = config({ enabled: true, groupPolicy: "disabled", accounts: { main: ONE } }, set);
    const { cfg, lines } = prepareFor(before, "main", team);
    expect(cfg).toEqual(before);
    expect(lines.slice(0, 3)).toEqual([
      'session.dmScope stays "per-peer".',
      'messages.queue.mode stays "collect".',
      'groupPolicy stays "disabled".',
    ]);
  });

  test("an owner is not put on a list that would keep everybody else out", () => {
    const everybody = config({ enabled: true, dmPolicy: "open", accounts: { main: ONE } });
    const { cfg } = prepareFor(everybody, "main", { ...team, owner: "staff001" });
    expect(resolveAccount(cfg, "main", {}).allowFrom).toEqual(["*"]);
    expect(cfg.commands).toEqual({ ownerAllowFrom: ["dingtalk:staff001"] });
  });

  test("the account alone: what holds for the others stays", () => {
    const own = config({ accounts: { main: { ...ONE, dmPolicy: "open" }, second: { ...TWO, dmPolicy: "pairing" } } });
    const { cfg } = prepareFor(own, "second", { ...team, owner: "s1" });
    expect(resolveAccount(cfg, "main", {})).toMatchObject({ groupPolicy: "open", allowFrom: ["*"] });
    expect(resolveAccount(cfg, "second", {})).toMatchObject({ groupPolicy: "allowlist", allowFrom: ["s1"] });
  });

  test("* makes nobody an owner", () => {
    const { lines } = prepareFor({ ...first, commands: { ownerAllowFrom: ["*"] } }, "main", team);
    expect(lines.at(-1)).toMatch(/^Nobody in DingTalk is owner yet: put /);
  });

  test("one person: only groups stay out", () => {
    const { cfg } = prepareFor(first, "main", { ...team, audience: "me" });
    expect(cfg).toEqual(writeSetting(first, "main", "groupPolicy", "allowlist"));
  });
});

describe("the last words", () => {
  const away = { state: "away", reason: "ECONNREFUSED" } as const;
  const words = (cfg: OpenClawConfig): string | undefined =>
    lastWords(cfg, resolveAccount(cfg, "main", {}), away).at(-1);

  test("are the command that starts the bridge, with what it cannot know by itself", () => {
    const cfg = writeAccount({}, "main", ONE);
    expect(words(cfg)).toBe("npx dingtalk-bridge start");
    const other = {
      ...writeAccount({}, "main", { ...ONE, bridgeUrl: "http://127.0.0.1:9000" }),
      gateway: { port: 1234 },
    };
    expect(words(other)).toBe("BRIDGE_GATEWAY_URL=http://127.0.0.1:1234 npx dingtalk-bridge start --port 9000");
  });

  test("come also where the address is none", () => {
    const cfg = config({ accounts: { main: ONE } });
    const account = resolveAccount(cfg, "main", { BRIDGE_PUBLIC_URL: "127.0.0.1:8790" });
    expect(lastWords(cfg, account, away)).toEqual([
      'The bridge\'s address "127.0.0.1:8790" is not of the form http://<host>:<port>: correct channels.dingtalk.bridgeUrl or BRIDGE_PUBLIC_URL.',
    ]);
  });

  test("name no secret", () => {
    const bridgeUrl = "http://me:secret-one@127.0.0.1:8790";
    const cfg = writeAccount({}, "main", { ...ONE, bridgeUrl, bridgeToken: "a-token-of-sixteen" });
    const account = resolveAccount(cfg, "main", {});
    for (const check of [
      away,
      { state: "refused" },
      { state: "other", status: 404 },
      { state: "there", version: "1" },
    ] as const) {
      expect(lastWords(cfg, account, check).join()).not.toMatch(/secret-one|a-token-of/);
    }
  });
});
