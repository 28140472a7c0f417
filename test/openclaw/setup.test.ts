import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFailed, test, vi } from "vitest";
import { deriveToken } from "../../src/domain/account.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { Bridge } from "./support/bridge.ts";
import { saidIn } from "./support/chat.ts";
import { Gateway } from "./support/gateway.ts";
import { ModelServer } from "./support/model-server.ts";
import { freePort } from "./support/ports.ts";
import { addsByName, atLeast, consent, keepsKindOfInstallation, release, releases } from "./support/release.ts";
import { CANCEL, DOWN, ENTER, type Terminal, UP } from "./support/terminal.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const APP = { appKey: "dingSetup1", appSecret: "secret-of-setup-1" };
const SECOND = { appKey: "dingSetup2", appSecret: "secret-of-setup-2" };
const SOON = { timeout: 60_000, interval: 100 };

type Json = Record<string, unknown>;
type Section = Json & { accounts: Record<string, Json> };

/*
 * From nothing to an answered message, as a user does it: the commands of OpenClaw, its wizard in a terminal, its files. The tests of
 * this file share one gateway and run in order.
 */
describe("setting DingTalk up in a real OpenClaw", () => {
  const model = new ModelServer();
  const scratch = mkdtempSync(join(tmpdir(), "dingtalk-bridge-setup-"));
  let sim: DingtalkSimulator;
  let gateway: Gateway;
  let bridge: Bridge;
  let terminal: Terminal | undefined;

  beforeAll(async () => {
    await model.start();
    sim = await startDingtalkSimulator({ apps: [APP] });
    gateway = await Gateway.create(model.url);
    bridge = await Bridge.start({ ...APP, dingtalkUrl: sim.url, gatewayUrl: gateway.url });
  });

  afterAll(async () => {
    terminal?.kill();
    await gateway?.remove();
    await bridge?.stop();
    await model.stop();
    await sim?.close();
    rmSync(scratch, { recursive: true, force: true });
  });

  const texts = (): string[] => saidIn(sim).map(({ text }) => text);
  const showLogs = (): void => {
    onTestFailed(() => {
      const shown = terminal?.screen.slice(-2_000) ?? "";
      console.error(
        `--- gateway\n${gateway.log.slice(-6_000)}\n--- bridge\n${bridge?.log.slice(-2_000)}\n--- terminal\n${shown}`,
      );
    });
  };
  const section = async (): Promise<Section> => ((await gateway.config())["channels"] as Json)["dingtalk"] as Section;
  const install = async (what: string): Promise<string> =>
    await gateway.cli("plugins", "install", "--force", ...consent(), what);
  /** A flag of the plugin's own, and what the same is called where OpenClaw has one set of flags for all channels. */
  const flag = (own: string, common: string): string => (addsByName() ? own : common);
  const APP_KEY = flag("--app-key", "--app-token");
  const APP_SECRET = flag("--app-secret", "--secret");
  const addAccount = async (...flags: string[]): Promise<string> =>
    await gateway.cli("channels", "add", "--channel", "dingtalk", ...flags);

  /** What the plugin says about the accounts for which these credentials speak. */
  const handshake = async ({ appKey, appSecret } = APP): Promise<unknown> => {
    const authorization = `Bearer ${deriveToken(appKey, appSecret)}`;
    return await (await fetch(`${gateway.url}/dingtalk/events`, { headers: { authorization } })).json();
  };

  /** Puts it under `channels.dingtalk` of the running gateway. */
  const write = async (dingtalk: Json): Promise<void> =>
    await gateway.configure((config) => {
      config["channels"] = { dingtalk };
    });

  const codeFor = async (from: string): Promise<string> => {
    const before = texts().length;
    await sim.say({ from, text: "say stranger" });
    return await vi.waitFor(() => {
      const found = texts()
        .slice(before)
        .findLast((text) => text.includes("openclaw pairing approve dingtalk"));
      return /approve dingtalk (\w+)/.exec(found ?? "")![1]!;
    }, SOON);
  };

  test("the folder of a fresh clone is installed and loaded without a build", async () => {
    const clone = join(scratch, "openclaw-plugin");
    const isBuilt = (path: string): boolean => ["dist", "node_modules"].includes(basename(path));
    cpSync(join(ROOT, "openclaw-plugin"), clone, { recursive: true, filter: (path) => !isBuilt(path) });

    expect(await install(clone)).toContain("Installed plugin: dingtalk");
    expect(await gateway.cli("plugins", "inspect", "dingtalk", "--runtime")).toMatch(
      /Status: loaded\s+Format: openclaw\s+Source: \S+\/dingtalk\/index\.js/,
    );
  });

  test("the packed plugin is JavaScript and takes its place", async () => {
    const pack = spawnSync(process.execPath, [join(ROOT, "scripts", "pack-plugin.ts")], {
      cwd: ROOT,
      encoding: "utf8",
    });
    expect(pack.stderr).toBe("");
    expect(pack.stdout.trim()).toMatch(/^dist\/openclaw-plugin\/openclaw-channel-dingtalk-bridge-[\d.]+\.tgz$/);

    if (keepsKindOfInstallation()) await gateway.cli("plugins", "uninstall", "--force", "dingtalk");
    // That it loads is what the rest of this file is about.
    expect(await install(join(ROOT, pack.stdout.trim()))).toContain("Installed plugin: dingtalk");
  });

  test("with credentials in the environment and nothing else, people are asked for a code and then answered", async () => {
    showLogs();
    Object.assign(gateway.variables, {
      DINGTALK_APP_KEY: APP.appKey,
      DINGTALK_APP_SECRET: APP.appSecret,
      BRIDGE_PUBLIC_URL: bridge.url,
      ROBOT_SECRET: APP.appSecret,
    });
    expect(await gateway.config()).not.toHaveProperty("channels");
    // Without the flag, or a section of its configuration, OpenClaw leaves channels alone that only the environment knows.
    const startsAmbient = atLeast("2026.8.1");
    if (!startsAmbient) await write({ dmPolicy: "pairing" });
    await gateway.start(...(startsAmbient ? ["--ambient-channels"] : []));

    await gateway.cli("pairing", "approve", "dingtalk", await codeFor("staff001"));
    await sim.say({ from: "staff001", text: "say environment" });
    await expect.poll(texts, SOON).toContain("echo environment");
    expect(await handshake()).toMatchObject({ accounts: [{ id: "main", appKey: APP.appKey, dmPolicy: "pairing" }] });
  });

  // The questions are OpenClaw's, in the words of the newest one.
  const isNewest = release().version === releases()[0]?.version;
  test.runIf(isNewest)("DingTalk is in the list of channels that can be added", async () => {
    showLogs();
    terminal = gateway.terminal("channels", "add");
    await terminal.answer("Set up a chat channel now?", ENTER);
    await terminal.answer("Select a channel", "", 20_000);
    await terminal.answer("DingTalk (dingtalk-bridge)", CANCEL, 20_000);
    await terminal.end();
  });

  test("the wizard asks for everything, hides the secret and writes what suits a team", async () => {
    showLogs();
    // No credentials that it could offer, and nobody is owner: as on a new machine.
    for (const name of Object.keys(gateway.variables)) delete gateway.variables[name];
    await gateway.configure((config) => {
      delete config["commands"];
      delete config["channels"];
    });
    const port = await freePort();
    const nowhere = `http://127.0.0.1:${port}`;
    terminal = gateway.terminal("channels", "add", ...(addsByName() ? ["dingtalk"] : []));
    if (!addsByName()) {
      await terminal.answer("Set up a chat channel now?", ENTER);
      await terminal.answer("○ DingTalk (dingtalk-bridge)", DOWN + ENTER);
    }
    await terminal.answer("App Key (Client ID)", `${APP.appKey}${ENTER}`);
    await terminal.answer("App Secret (Client Secret)", `a b${ENTER}`);
    await terminal.answer("The App Secret has a space in it", `\u0015${APP.appSecret}${ENTER}`);
    await terminal.answer("Address of dingtalk-bridge", `\u0015${nowhere}${ENTER}`);
    await terminal.answer("Bridge token", ENTER);
    await terminal.answer("Who is going to write to the robot?", DOWN + ENTER);
    await terminal.answer("which makes you the owner", `staff001${ENTER}`);
    await terminal.answer("Restrict the agent's tools", ENTER);
    // The last line of the list is "Finished".
    if (!addsByName()) await terminal.answer("Select a channel", UP + ENTER);
    await terminal.answer("Configure DM access policies now?", ENTER);
    if (!addsByName()) {
      await terminal.answer("Name these channel accounts now?", ENTER);
      await terminal.answer("Route these channel accounts to agents now?", "n");
    }
    const { status, screen } = await terminal.end();

    expect(status, screen).toBe(0);
    expect(screen).toContain("DingTalk: DingTalk robots in Stream mode");
    expect(screen).not.toContain(APP.appSecret);
    expect(screen).toContain(
      `No bridge answers at ${nowhere} (ECONNREFUSED). Start it:\nBRIDGE_GATEWAY_URL=${gateway.url} npx dingtalk-bridge start --port ${port}\n`,
    );
    expect(await gateway.config()).toMatchObject({
      session: { dmScope: "per-channel-peer" },
      messages: { queue: { mode: "followup" } },
      commands: { ownerAllowFrom: ["dingtalk:staff001"] },
      tools: { profile: "messaging", deny: ["gateway"], elevated: { enabled: false } },
    });
    expect(await section()).toEqual({
      enabled: true,
      dmPolicy: "pairing",
      bridgeUrl: nowhere,
      groupPolicy: "open",
      allowFrom: ["staff001"],
      accounts: { main: APP },
    });
  });

  test("OpenClaw accepts what the wizard wrote, and its audit finds nothing critical", async () => {
    await gateway.cli("config", "validate");
    const report = await gateway.cli("security", "audit", "--json");
    const { findings } = JSON.parse(report.slice(report.indexOf("{"))) as { findings: { severity: string }[] };
    expect(findings.filter(({ severity }) => severity === "critical")).toEqual([]);
  });

  test("an account is changed by flags, which keep what they do not name; the owner is answered at once", async () => {
    showLogs();
    const said = await addAccount(flag("--bridge-url", "--url"), bridge.url, "--name", "Helper");
    expect(said).toContain('Added DingTalk account "main".');
    expect(said).toMatch(/The bridge at \S+ is there, version \d/);
    expect(await section()).toMatchObject({ bridgeUrl: bridge.url, accounts: { main: { ...APP, botName: "Helper" } } });

    await expect.poll(() => gateway.log, SOON).toMatch(/dingtalk: account main: bridge at \S+, version/);
    await sim.say({ from: "staff001", text: "say team" });
    await expect.poll(texts, SOON).toContain("echo team");
  });

  test("in a team commands are the owner's", async () => {
    showLogs();
    const allowFrom = ["staff001", "staff003"];
    const { accounts, ...rest } = await section();
    // The flags of OpenClaw before 2026.8.1 have moved what stood beside the accounts into the one that there is.
    const main = { ...accounts["main"], ...(accounts["main"]?.["allowFrom"] !== undefined && { allowFrom }) };
    await write({ ...rest, allowFrom, accounts: { ...accounts, main } });
    const isStatus = expect.stringMatching(/OpenClaw \d{4}\./);
    await vi.waitFor(async () => {
      await sim.say({ from: "staff003", text: "say member" });
      await expect.poll(texts, { timeout: 5_000 }).toContain("echo member");
    }, SOON);
    await sim.say({ from: "staff003", text: "/status" });
    await sim.say({ from: "staff003", text: "say more" });
    await expect.poll(texts, SOON).toContain("echo more");
    expect(texts()).not.toContainEqual(isStatus);

    await sim.say({ from: "staff001", text: "/status" });
    await expect.poll(texts, SOON).toContainEqual(isStatus);
  });

  test("a second robot comes with flags and shares the route; bad ones are named and nothing is written", async () => {
    showLogs();
    const before = await section();
    await expect(addAccount("--account", "second", APP_KEY, SECOND.appKey)).rejects.toThrow(
      /Account second has no --app-secret/,
    );
    expect(await section()).toEqual(before);
    await addAccount("--account", "second", APP_KEY, SECOND.appKey, APP_SECRET, SECOND.appSecret);

    // OpenClaw before 2026.8.1 gives what stands beside the accounts to the one that there is, and the second begins with its own.
    const { allowFrom, accounts, ...rest } = before;
    const [shared, second] = addsByName()
      ? [{ ...rest, allowFrom }, SECOND]
      : [rest, { ...SECOND, dmPolicy: "pairing" }];
    expect(await section()).toEqual({ ...shared, accounts: { ...accounts, second } });
    await expect
      .poll(async () => await handshake(SECOND), SOON)
      .toMatchObject({ accounts: [{ id: "second", appKey: SECOND.appKey, enabled: true, dmPolicy: "pairing" }] });
    expect(await handshake()).toMatchObject({ accounts: [{ id: "main", appKey: APP.appKey }] });
  });

  test("the block of the documentation works as it stands, beside settings of other plugins", async () => {
    showLogs();
    const from = gateway.log.length;
    const main = { ...APP, botName: "Helper", bridgeUrl: bridge.url, messageType: "card" };
    await write({
      enabled: true,
      dmPolicy: "pairing",
      robotCode: APP.appKey,
      cardTemplateId: "x.schema",
      groupPolcy: "disabled",
      accounts: { main, second: { ...SECOND, enabled: false } },
    });
    const log = (): string => gateway.log.slice(from);
    await expect.poll(log, SOON).toContain("are they misspelt? groupPolcy");
    await gateway.cli("pairing", "approve", "dingtalk", await codeFor("staff002"));
    await sim.say({ from: "staff002", text: "say block" });

    await expect.poll(texts, SOON).toContain("echo block");
    const ignored = "belong to other DingTalk plugins: robotCode, cardTemplateId, accounts.main.messageType";
    expect(log().split(ignored)).toHaveLength(2);
  });

  test("without a policy everybody may write, and the log says which setting is missing; ids may be numbers", async () => {
    showLogs();
    await write({ clientId: APP.appKey, clientSecret: APP.appSecret, bridgeUrl: bridge.url });
    await expect
      .poll(() => gateway.log, SOON)
      .toContain("account default: channels.dingtalk.dmPolicy is not set, so everybody in the organisation may write");
    expect(await handshake()).toMatchObject({ accounts: [{ id: "main", dmPolicy: "open" }] });

    await write({ ...APP, bridgeUrl: bridge.url, dmPolicy: "allowlist", allowFrom: [1234567890] });
    await expect.poll(async () => await handshake(), SOON).toMatchObject({ accounts: [{ dmPolicy: "allowlist" }] });
  });

  test("a secret may be a SecretRef, which OpenClaw resolves", async () => {
    showLogs();
    const appSecret = { source: "env", provider: "default", id: "ROBOT_SECRET" };
    await write({ dmPolicy: "pairing", accounts: { main: { appKey: APP.appKey, appSecret, bridgeUrl: bridge.url } } });
    await expect
      .poll(async () => await handshake(), SOON)
      .toMatchObject({ accounts: [{ id: "main", dmPolicy: "pairing" }] });
  });
});
