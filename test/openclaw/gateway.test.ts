import { afterAll, beforeAll, describe, expect, onTestFailed, test, vi } from "vitest";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { Bridge } from "./support/bridge.ts";
import { type Said, saidIn } from "./support/chat.ts";
import { Gateway } from "./support/gateway.ts";
import { ModelServer } from "./support/model-server.ts";

const APP = { appKey: "dingApp1", appSecret: "secret-of-app-1" };
const OTHER_APP = { appKey: "dingApp2", appSecret: "secret-of-app-2" };
const GROUP = { conversationId: "cidMixedCASE+aB/x9Zq==", title: "测试群" };
const TWIN = { conversationId: GROUP.conversationId.toLowerCase(), title: "另一个群" };
const SOON = { timeout: 60_000, interval: 100 };

/*
 * People write in the DingTalk simulator; bridge, plugin, gateway and the way back are the real ones; the model answers
 * "echo <word>" to "say <word>". The tests of this file share one gateway and run in order.
 */
describe("DingTalk, bridge, plugin and a real OpenClaw gateway", () => {
  const model = new ModelServer();
  let sim: DingtalkSimulator;
  let gateway: Gateway;
  let bridge: Bridge;

  beforeAll(async () => {
    await model.start();
    sim = await startDingtalkSimulator({ apps: [APP, OTHER_APP], groups: [GROUP, TWIN] });
    gateway = await Gateway.create(model.url);
  });

  afterAll(async () => {
    await bridge?.stop();
    await gateway?.stop();
    await gateway?.remove();
    await model.stop();
    await sim?.close();
  });

  const answers = (): Said[] => saidIn(sim);
  const texts = (): string[] => answers().map(({ text }) => text);
  const occurrences = (text: string): number => texts().filter((one) => one === text).length;
  const showLogs = (): void => {
    onTestFailed(() => {
      console.error(`--- gateway\n${gateway.log.slice(-4_000)}\n--- bridge\n${bridge?.log.slice(-4_000)}`);
    });
  };

  /** Writes it to the gateway's configuration and waits until the gateway has read it. */
  const setPolicy = async (policy: { dmPolicy: string; allowFrom: string[] }): Promise<void> => {
    await gateway.configure((config) => {
      const { dingtalk } = config["channels"] as { dingtalk: object };
      config["channels"] = { dingtalk: { ...dingtalk, ...policy } };
    });
    const handshake = async (): Promise<unknown> =>
      (await fetch(`${gateway.url}/dingtalk/events`, { headers: { authorization: `Bearer ${bridge.token}` } })).json();
    await expect.poll(handshake, SOON).toMatchObject({ accounts: [{ dmPolicy: policy.dmPolicy }] });
  };

  test("the bridge names the missing plugin and how to install it, and keeps the message", async () => {
    showLogs();
    await gateway.start();
    bridge = await Bridge.start({ ...APP, dingtalkUrl: sim.url, gatewayUrl: gateway.url });
    await sim.until("connected");
    await sim.say({ text: "say early" });

    await expect
      .poll(async () => (await bridge.health()).components["gateway"], SOON)
      .toMatchObject({
        status: "degraded",
        code: "plugin_missing",
        mend: expect.stringContaining("openclaw plugins install"),
      });
    await gateway.stop();
  });

  test("installed as a user installs it, the plugin answers what had been kept", async () => {
    showLogs();
    await gateway.installPlugin();
    await gateway.configure((config) => {
      config["channels"] = { dingtalk: { ...APP, bridgeUrl: bridge.url } };
      config["messages"] = { queue: { mode: "followup" } };
    });
    await gateway.start();

    await expect.poll(texts, SOON).toContain("echo early");
    await expect.poll(async () => (await bridge.health()).status, SOON).toBe("ok");
    expect(gateway.log).toMatch(/dingtalk: account default: bridge at \S+, version \d/);
  });

  test("a direct message is answered in its conversation", async () => {
    showLogs();
    const said = await sim.say({ text: "say direct" });

    await expect.poll(texts, SOON).toContain("echo direct");
    const { conversationId } = said.body as { conversationId: string };
    expect(answers()).toContainEqual({ text: "echo direct", conversationId });
  });

  test("a group message is answered in exactly that group, though its id differs from another only by case", async () => {
    showLogs();
    await sim.say({ from: "staff002", text: "say group", group: GROUP.conversationId });
    await expect.poll(texts, SOON).toContain("echo group");
    await sim.say({ from: "staff002", text: "say twin", group: TWIN.conversationId });
    await expect.poll(texts, SOON).toContain("echo twin");

    expect(answers()).toContainEqual({ text: "echo group", conversationId: GROUP.conversationId });
    expect(answers()).toContainEqual({ text: "echo twin", conversationId: TWIN.conversationId });
  });

  test("OpenClaw answers /status itself", async () => {
    showLogs();
    const asked = model.requests.length;
    await sim.say({ text: "/status" });

    await expect.poll(texts, SOON).toContainEqual(expect.stringMatching(/OpenClaw \d{4}\./));
    expect(model.requests.slice(asked).filter(({ prompt }) => prompt.includes("/status"))).toEqual([]);
    expect(sim.sent.filter(({ text }) => /OpenClaw \d{4}\./.test(text))).toHaveLength(1);
  });

  test("three quick messages are answered one by one, in their order", async () => {
    showLogs();
    const release = model.hold();
    const words = ["first", "second", "third"];
    for (const word of words) await sim.say({ text: `say ${word}` });
    await expect.poll(() => model.requests.some(({ prompt }) => prompt.includes("say first")), SOON).toBe(true);
    release();

    await expect.poll(texts, SOON).toContain("echo third");
    expect(texts().filter((text) => words.some((word) => text === `echo ${word}`))).toEqual(
      words.map((word) => `echo ${word}`),
    );
  });

  test("every message that arrives around a crash of the gateway is answered", async () => {
    showLogs();
    const release = model.hold();
    const before = ["crash1", "crash2", "crash3"];
    const during = ["crash4", "crash5"];
    for (const word of before) await sim.say({ text: `say ${word}` });
    await sim.say({ from: "staff002", text: "say crash6", group: GROUP.conversationId });
    await expect.poll(() => model.requests.filter(({ prompt }) => /say crash[16]/.test(prompt)).length, SOON).toBe(2);
    await gateway.kill();
    for (const word of during) await sim.say({ from: "staff002", text: `say ${word}` });
    release();
    await gateway.start();

    for (const word of [...before, ...during, "crash6"]) {
      await expect
        .poll(() => occurrences(`echo ${word}`), { ...SOON, message: `answers to ${word}` })
        .toBeGreaterThan(0);
    }
  });

  test("who is not allowed gets no turn, and the message is settled with the reason", async () => {
    showLogs();
    await setPolicy({ dmPolicy: "allowlist", allowFrom: ["staff001"] });
    await sim.say({ from: "staff002", text: "say forbidden" });
    await sim.say({ from: "staff001", text: "say allowed" });

    await expect.poll(texts, SOON).toContain("echo allowed");
    await expect.poll(() => gateway.log, SOON).toContain("decision=denied reason=dm_policy_not_allowlisted");
    expect(model.requests.filter(({ prompt }) => prompt.includes("forbidden"))).toEqual([]);
    expect(texts()).not.toContain("echo forbidden");
    await expect.poll(() => openMessages(bridge), SOON).toEqual({ open: 0, deadLetters: 0 });
  });

  test("a stranger gets a pairing code in DingTalk, and an answer once it is approved", async () => {
    showLogs();
    await setPolicy({ dmPolicy: "pairing", allowFrom: [] });
    await sim.say({ from: "staff002", text: "say stranger" });
    const code = await vi.waitFor(() => {
      const found = texts().findLast((text) => text.includes("openclaw pairing approve dingtalk"));
      return /approve dingtalk (\w+)/.exec(found ?? "")![1]!;
    }, SOON);
    await gateway.cli("pairing", "approve", "dingtalk", code);
    await sim.say({ from: "staff002", text: "say paired" });

    await expect.poll(texts, SOON).toContain("echo paired");
    expect(texts()).not.toContain("echo stranger");
  });

  test("a bridge with another token is refused, and says so", async () => {
    showLogs();
    const stranger = await Bridge.start({
      ...OTHER_APP,
      dingtalkUrl: sim.url,
      gatewayUrl: gateway.url,
      token: "a-token-that-nobody-else-has",
    });
    try {
      await expect
        .poll(async () => (await stranger.health()).components["gateway"], SOON)
        .toMatchObject({ status: "degraded", code: "gateway_token", mend: expect.stringContaining("BRIDGE_TOKEN") });
    } finally {
      await stranger.stop();
    }
  });

  test("DingTalk had nothing to complain about", () => {
    expect(sim.problems).toEqual([]);
  });
});

async function openMessages(bridge: Bridge): Promise<{ open: number; deadLetters: number }> {
  const response = await fetch(`${bridge.url}/v1/status`, { headers: { authorization: `Bearer ${bridge.token}` } });
  const { queues } = (await response.json()) as { queues: { inbox: { open: number; deadLetters: number } } };
  return { open: queues.inbox.open, deadLetters: queues.inbox.deadLetters };
}
