import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";
import { deriveToken } from "../../src/domain/account.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { Bridge } from "./support/bridge.ts";
import { type Said, saidIn } from "./support/chat.ts";
import { Gateway } from "./support/gateway.ts";
import { ModelServer } from "./support/model-server.ts";
import { hasStatusWarnings, refusesToSend, tellsHealth, tellsOfSending } from "./support/release.ts";

const APP = { appKey: "dingApp1", appSecret: "secret-of-app-1" };
const GROUP = { conversationId: "cidMixedCASE+aB/x9Zq==", title: "测试群" };
const SOON = { timeout: 120_000, interval: 100 };
/** 1 × 1 pixel. */
const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

/** Before 2026.8.1 OpenClaw has its own word for it when it thinks that it should restart the channel. */
const HEALTH_DEGRADED = tellsHealth() ? /health:degraded/ : /health:(?:degraded|disconnected)/;

interface Receipt {
  messageId: string;
  payload: { to: string; result: { meta: { status: string; receipts?: string[] } } };
}

/*
 * What OpenClaw sends of its own accord, and what it says of the bridge: the real command line, gateway and bridge. The tests share one
 * gateway and run in order.
 */
describe("sending and status with a real OpenClaw gateway", () => {
  const model = new ModelServer();
  let sim: DingtalkSimulator;
  let gateway: Gateway;
  let bridge: Bridge;

  beforeAll(async () => {
    await model.start();
    sim = await startDingtalkSimulator({ apps: [APP], groups: [GROUP] });
    gateway = await Gateway.create(model.url);
    await gateway.installPlugin();
    await writeFile(join(gateway.workspace, "chart.png"), PNG);
    bridge = await Bridge.start({ ...APP, dingtalkUrl: sim.url, gatewayUrl: gateway.url });
    await gateway.configure((config) => {
      config["channels"] = { dingtalk: { ...APP, bridgeUrl: bridge.url, dmPolicy: "pairing" } };
      config["messages"] = { queue: { mode: "followup" }, groupChat: { visibleReplies: "message_tool" } };
      const { defaults } = config["agents"] as { defaults: object };
      config["agents"] = {
        defaults: { ...defaults, heartbeat: { every: "24h", target: "dingtalk", to: "user:staff001" } },
      };
    });
    await gateway.start();
    await sim.until("connected");
  });

  afterAll(async () => {
    await bridge?.stop();
    await gateway?.remove();
    await model.stop();
    await sim?.close();
  });

  beforeEach(() => {
    onTestFailed(() => {
      console.error(`--- gateway\n${gateway.log.slice(-4_000)}\n--- bridge\n${bridge?.log.slice(-4_000)}`);
    });
  });

  const answers = (): Said[] => saidIn(sim);
  const texts = (): string[] => answers().map(({ text }) => text);
  const send = async (target: string, ...more: string[]): Promise<string> => {
    if (refusesToSend()) return await callToSend(target, more);
    return await gateway.cli("message", "send", "--channel", "dingtalk", "--target", target, ...more);
  };
  /** The same where `openclaw message send` knows OpenClaw's own channels only: what the README tells to run there. */
  const callToSend = async (to: string, flags: string[]): Promise<string> => {
    const valueOf = (flag: string): string | undefined => flags[flags.indexOf(flag) + 1];
    const mediaUrl = flags.includes("--media") && { mediaUrl: valueOf("--media") };
    const idempotencyKey = randomUUID();
    const params = { channel: "dingtalk", to, message: valueOf("--message"), ...mediaUrl, idempotencyKey };
    return await gateway.cli("gateway", "call", "send", "--timeout", "60000", "--params", JSON.stringify(params));
  };
  const receiptIn = (output: string): Receipt => JSON.parse(/^\{.*^\}/ms.exec(output)![0]) as Receipt;
  /** Of one channel section; waits until the channel runs with it. */
  const setBridge = async (settings: object): Promise<void> => {
    const started = (): number => gateway.log.split("dingtalk: account default: bridge at").length;
    const before = started();
    await gateway.configure((config) => {
      const { dingtalk } = config["channels"] as { dingtalk: object };
      config["channels"] = { dingtalk: { ...dingtalk, bridgeUrl: bridge.url, ...settings } };
    });
    await expect.poll(started, SOON).toBe(before + 1);
  };
  const lastLine = (): string => gateway.log.split("\n").findLast((line) => line.includes("dingtalk: account")) ?? "";

  test("the channel's start is one line: address, version, connected", async () => {
    const lines = (): string[] => gateway.log.split("\n").filter((line) => line.includes("dingtalk: account default"));
    await expect.poll(lines, SOON).not.toEqual([]);
    expect(lines()).toEqual([expect.stringMatching(/bridge at http:\/\/127\.0\.0\.1:\d+, version \d\S*: connected$/)]);
  });

  test.skipIf(refusesToSend())(
    "message send comes back with the bridge's id and DingTalk's receipt; buttons come as words",
    async () => {
      const buttons = [{ label: "Approve", value: "approve" }];
      const presentation = JSON.stringify({ blocks: [{ type: "buttons", buttons }] });
      const words = ["--message", "to a person", "--presentation", presentation];
      const { messageId, payload } = receiptIn(await send("user:staff001", ...words, "--json"));
      expect(messageId).toMatch(/^out_/);
      expect(payload.result.meta).toEqual({ status: "delivered", receipts: [expect.any(String)] });
      const shown = tellsOfSending() ? /to a person.*Approve/s : /to a person/;
      expect(texts()).toContainEqual(expect.stringMatching(shown));
    },
  );

  test("a group is reached by its bare id, to the letter; a long Markdown text arrives whole", async () => {
    const words = Array.from({ length: 900 }, (_, i) => `**word${i}**`).join(" ");
    const output = await send(`dingtalk:${GROUP.conversationId}`, "--message", words, "--json");
    if (!refusesToSend()) expect(receiptIn(output).payload.to).toBe(`conversation:${GROUP.conversationId}`);
    const parts = answers().filter(({ conversationId, text }) => conversationId === GROUP.conversationId && text);
    expect(parts.length).toBeGreaterThan(1);
    const all = parts.map(({ text }) => text).join(" ");
    expect(all.match(/word\d+/g)).toHaveLength(900);
  });

  test("a file of this machine goes along with its words; one that the bridge may not fetch is told", async () => {
    await send("user:staff001", "--message", "a chart", "--media", join(gateway.workspace, "chart.png"));
    expect(texts()).toContain("a chart");
    expect(sim.media.uploaded.map(({ data }) => data)).toEqual([PNG]);
    const refused = send("user:staff001", "--message", "of the web", "--media", "http://127.0.0.1:9/a.png");
    await expect(refused).rejects.toThrow(/ended with 1:.*media_url_refused/s);
  });

  test.skipIf(refusesToSend())("a dry run sends nothing", async () => {
    expect(await send("user:staff001", "--message", "never", "--dry-run")).toContain("dry-run");
    expect(texts()).not.toContain("never");
  });

  test.for([
    ["user:nobody", /was not delivered: recipient_unknown .*check the staffId/],
    [
      "zhangsan",
      refusesToSend()
        ? /user:zhangsan was not delivered: recipient_unknown .*check the staffId/
        : /Unknown target "zhangsan".*user:<staffId>.*conversation:<conversationId>.*openclaw logs/s,
    ],
  ] as const)("to %s it fails, and says why", async ([target, words]) => {
    await expect(send(target, "--message", "lost")).rejects.toThrow(words);
    expect(texts()).not.toContain("lost");
  });

  test("what DingTalk does not take just now is taken, told as not delivered yet, and arrives", async () => {
    sim.faults.api("*", { kind: "answer", status: 503, body: {} });
    const output = await send("user:staff001", "--message", "later");
    sim.faults.clear();
    // The command writes this down; what the gateway answers to the call has no place for it.
    if (!refusesToSend()) {
      expect(output).toMatch(/has taken message out_\S+ to user:staff001 but not delivered it yet: \w+/);
      expect(output).toContain("Sent via DingTalk");
    }
    await expect.poll(texts, SOON).toContain("later");
  });

  test("a job's words are delivered, and a job that reaches nobody says so", async () => {
    const add = async (name: string, to: string): Promise<string> => {
      const what = [
        "--session",
        "isolated",
        "--message",
        `say ${name}`,
        "--announce",
        "--channel",
        "dingtalk",
        "--to",
        to,
      ];
      const output = await gateway.cli("cron", "add", "--name", name, "--at", "12h", ...what, "--json");
      const { id } = JSON.parse(/^\{.*^\}/ms.exec(output)![0]) as { id: string };
      await gateway.cli("cron", "run", id);
      return id;
    };
    await add("cronword", `conversation:${GROUP.conversationId}`);
    const bad = await add("cronlost", "user:nobody");
    await expect.poll(answers, SOON).toContainEqual({ text: "echo cronword", conversationId: GROUP.conversationId });
    const runs = async (id: string): Promise<unknown> =>
      (JSON.parse(/^\{.*^\}/ms.exec(await gateway.cli("cron", "runs", "--id", id))![0]) as { entries: unknown[] })
        .entries[0];
    const slowly = { timeout: 120_000, interval: 3_000 };
    await expect
      .poll(async () => await runs(bad), slowly)
      .toMatchObject(
        tellsOfSending()
          ? { deliveryStatus: "not-delivered", deliveryError: expect.stringContaining("recipient_unknown") }
          : { deliveryStatus: "unknown" },
      );
  });

  test("a heartbeat's words are delivered", async () => {
    // Nobody has said a word in that session.
    model.answers.set("", () => "the heart beats");
    await gateway.cli("system", "event", "--text", "the mail has come", "--mode", "now");
    await expect.poll(texts, SOON).toContain("the heart beats");
  });

  test("in a group an answer that comes through the message tool arrives once, with its file, as the answer it is", async () => {
    let refused = "";
    model.answers.set("viatool", ({ toolResults }) => {
      if (toolResults.length > 0) return "not for the group";
      return {
        tool: "message",
        args: { action: "send", message: "with a file", media: join(gateway.workspace, "chart.png") },
      };
    });
    model.answers.set("viafail", ({ toolResults }) => {
      refused = toolResults.join();
      if (toolResults.length > 0) return "not for the group";
      return { tool: "message", args: { action: "send", target: "user:nobody", message: "to nobody" } };
    });
    const said = await sim.say({ from: "staff002", text: "say viatool", group: GROUP.conversationId });
    await expect
      .poll(() => answers().filter(({ text }) => text === "with a file"), SOON)
      .toEqual([{ text: "with a file", conversationId: GROUP.conversationId }]);
    if (tellsOfSending())
      expect(bridge.log).toMatch(new RegExp(`"inReplyTo":"main:${said.msgId!.replaceAll("+", "\\+")}"`));

    await sim.say({ from: "staff002", text: "say viafail", group: GROUP.conversationId });
    await expect.poll(() => refused, SOON).toContain("recipient_unknown");
    expect(texts().filter((text) => text === "with a file")).toHaveLength(1);
    expect(texts()).not.toContain("not for the group");
  });

  test("status, health and list say that the bridge works", async () => {
    const status = await gateway.cli("channels", "status", "--probe");
    expect(status).toMatch(/DingTalk default: .*running, connected, in:.*out:.*works/);
    expect(status).not.toContain("Warnings");
    expect(await gateway.cli("channels", "list")).toContain("DingTalk default: installed, configured, enabled");
  });

  test("credentials that DingTalk refuses are seen in the status, and in the log once", async () => {
    const wanted = [
      /error:the bridge is not connected to DingTalk: /,
      / disconnected,/,
      /probe failed/,
      HEALTH_DEGRADED,
    ];
    const lacking = (status: string): RegExp[] => wanted.filter((one) => !one.test(status));
    sim.faults.open({ kind: "error", error: "authFailed" });
    sim.faults.abort();
    await expect
      .poll(async () => lacking(await gateway.cli("channels", "status", "--probe")), {
        timeout: 120_000,
        interval: 500,
      })
      .toEqual([]);
    expect(lastLine()).toMatch(/is now degraded: the bridge is not connected to DingTalk: /);
    sim.faults.clear();
  });

  test("and that it works again, without anybody's doing", async () => {
    await expect.poll(lastLine, { timeout: 150_000 }).toMatch(/is now connected; the bridge is at /);
  });

  test("a wrong token is named on every page, with what to do", async () => {
    await setBridge({ bridgeToken: "another-token-of-nobody", dmPolicy: "open", allowFrom: ["*"] });
    const status = await gateway.cli("channels", "status");
    expect(status).toMatch(/DingTalk default: .*error:the bridge at \S+ refuses the token/);
    expect(status).toMatch(/DingTalk default: .* disconnected,/);
    expect(status).toMatch(HEALTH_DEGRADED);
    if (hasStatusWarnings()) {
      expect(status).toMatch(/Warnings:\n- dingtalk default: the bridge at \S+ refuses the token .*BRIDGE_TOKEN/);
      expect(status).toMatch(
        /- dingtalk default: dmPolicy is "open": .*openclaw config set channels\.dingtalk\.dmPolicy pairing/,
      );
    }
    const words = hasStatusWarnings() ? /refuses the token of account default/ : /DingTalk: degraded/;
    // The gateway keeps what it found for a while.
    const slowly = { timeout: 120_000, interval: 5_000 };
    if (tellsHealth()) await expect.poll(async () => await gateway.cli("health"), slowly).toMatch(words);
  });

  test("and to whoever looks deeper or sends; the gateway itself is ready all the same", async () => {
    if (tellsHealth()) expect(await gateway.cli("status", "--deep")).toMatch(/DingTalk\s+│ WARN/);
    if (hasStatusWarnings()) {
      const doctor = (await gateway.cli("doctor", "--non-interactive")).replaceAll(/[│\s]+/g, " ");
      expect(doctor).toMatch(/Channel warnings.*refuses the token of account default .*same App Key/);
    }
    await expect(send("user:staff001", "--message", "lost")).rejects.toThrow(
      /not sent: the bridge at \S+ refuses the token/,
    );
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
  });

  test.for([
    ["https to a plain port", () => ({ bridgeUrl: bridge.url.replace("http:", "https:") }), /says https, but no TLS/],
    ["OpenClaw's own port", () => ({ bridgeUrl: gateway.url }), /is not dingtalk-bridge \(.+\); set channels/],
    [
      "a path too many",
      () => ({ bridgeUrl: `${bridge.url}/v1` }),
      /has a path \(\/v1\) where the bridge has none; run "openclaw config set/,
    ],
  ] as const)("bridgeUrl: %s", async ([, settings, words]) => {
    await setBridge({ bridgeToken: undefined, ...settings() });
    expect(lastLine()).toMatch(/: unreachable: /);
    expect(lastLine()).toMatch(words);
  });

  test("a bridge of another contract is named, and one that calls is refused", async () => {
    const other = createServer((_, res) => res.writeHead(200, { "x-bridge-contract": "2" }).end("{}")).listen(0);
    try {
      await once(other, "listening");
      await setBridge({ bridgeUrl: `http://127.0.0.1:${(other.address() as AddressInfo).port}` });
      expect(lastLine()).toMatch(
        /degraded: the bridge speaks contract "2", this plugin 1; install the plugin that came/,
      );
    } finally {
      other.close();
    }
    const headers = {
      authorization: `Bearer ${deriveToken(APP.appKey, APP.appSecret)}`,
      "x-bridge-contract": "2",
    };
    const answer = await fetch(`${gateway.url}/dingtalk/events`, { method: "POST", headers, body: "{}" });
    expect([answer.status, await answer.json()]).toEqual([
      400,
      expect.objectContaining({ code: "unsupported_version", detail: expect.stringContaining("plugins install") }),
    ]);
  });

  test("a bridge that is away is told to the sender, in the status and in the log", async () => {
    await setBridge({ bridgeToken: undefined, dmPolicy: "pairing" });
    expect(lastLine()).toMatch(/version \S+: connected$/);
    await bridge.stop();
    // The gateway, asked to send, goes on trying for minutes; a command does not.
    if (!refusesToSend()) {
      await expect(send("user:staff001", "--message", "lost")).rejects.toThrow(
        /not sent: no bridge answers at \S+ \(ECONNREFUSED\); start it with "npx dingtalk-bridge start"/,
      );
    }
    const status = await gateway.cli("channels", "status", "--probe");
    expect(status).toMatch(/error:no bridge answers/);
    expect(status).toMatch(/ disconnected,.*health:(?:unreachable|disconnected)/);
    if (tellsHealth()) expect(status).toContain("health:unreachable");
    if (hasStatusWarnings()) expect(status).toMatch(/Warnings:.*no bridge answers/s);
    expect(lastLine()).toMatch(/is now unreachable: no bridge answers/);
  });

  test("DingTalk had nothing to complain about", () => {
    expect(sim.problems).toEqual([]);
  });
});
