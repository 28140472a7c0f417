import { afterEach, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge;
afterEach(() => bridge.close());

const SILENT = { gateway: { mode: { kind: "silent" } } } as const;
const text = (value: string) => ({ type: "text", text: value });

/** Commits a message; the answer comes before it is sent. */
async function put(to: string, value: string): Promise<string> {
  const response = await bridge.api("POST", "/v1/messages", { to, content: text(value) });
  expect(response.status).toBe(202);
  return ((await response.json()) as { id: string }).id;
}

/** People whom DingTalk knows. */
function know(...staffIds: string[]): void {
  for (const staffId of staffIds) bridge.dingtalk.addUser({ staffId, name: staffId });
}

async function group(title: string): Promise<string> {
  const push = await bridge.dingtalk.say({ text: "hi", group: title });
  await push.acked();
  return `conversation:${(push.body as { conversationId: string }).conversationId}`;
}

const view = async (id: string): Promise<Record<string, unknown>> =>
  (await (await bridge.api("GET", `/v1/messages/${id}`)).json()) as Record<string, unknown>;
const texts = (): string[] => bridge.dingtalk.sent.map((one) => one.text);
const refused = (): string[] =>
  bridge.dingtalk.requests.map(({ code }) => code).filter((code) => code !== "ok" && code !== "");

describe("the limits, as DingTalk counts", () => {
  it("are never exceeded under random latency, by any mixture of conversations", { timeout: 60_000 }, async () => {
    bridge = await startBridge({
      ...SILENT,
      env: { BRIDGE_LIMITS_API_PER_SECOND: "10", BRIDGE_LIMITS_CONVERSATION_PER_SECOND: "3" },
      dingtalk: { knobs: { qps: 10, groupPerMinute: 20 } },
    });
    const conversation = await group("一");
    know("staff000", "staff003", "staff004", "staff005");
    bridge.dingtalk.faults.expireWebhooks();
    for (const api of ["oToMessages/batchSend", "groupMessages/send"]) {
      bridge.dingtalk.faults.api(api, { kind: "slow", delayMs: [0, 250] });
    }
    for (let n = 0; n < 24; n += 1) await put(conversation, `g${n}`);
    for (let n = 0; n < 60; n += 1) await put(`user:staff00${n % 6}`, `${n}`);
    const ofPeople = (): number => bridge.dingtalk.sent.filter(({ route }) => route === "oto").length;
    await expect.poll(ofPeople, { timeout: 40_000 }).toBe(60);
    await expect.poll(() => texts().filter((one) => one.startsWith("g")).length, { timeout: 20_000 }).toBe(20);
    const { dingtalk } = bridge;
    // A webhook that DingTalk does not know any more is asked once.
    expect(refused()).toEqual(["300001"]);
    expect(dingtalk.busiest(1_000, { api: "oToMessages/batchSend" })).toBeLessThanOrEqual(10);
    for (let n = 0; n < 6; n += 1) {
      const ofOne = dingtalk.sent.filter(({ userIds }) => userIds?.includes(`staff00${n}`));
      for (const [index, { at }] of ofOne.entries()) {
        const third = ofOne[index + 3];
        if (third) expect(third.at - at).toBeGreaterThanOrEqual(1_000);
      }
      expect(ofOne.map((one) => Number(one.text))).toEqual(Array.from({ length: 10 }, (_, i) => i * 6 + n));
    }
    const inGroup = dingtalk.sent.filter(({ route }) => route !== "oto");
    expect(inGroup.map((one) => one.text)).toEqual(Array.from({ length: 20 }, (_, n) => `g${n}`));
    for (const [index, { at }] of inGroup.entries()) {
      const third = inGroup[index + 3];
      if (third) expect(third.at - at).toBeGreaterThanOrEqual(1_000);
    }
  });

  it("of a group's minute hold over a restart", async () => {
    bridge = await startBridge({ ...SILENT, env: { BRIDGE_LIMITS_GROUP_PER_MINUTE: "4" } });
    const conversation = await group("一");
    for (let n = 0; n < 3; n += 1) await put(conversation, `${n}`);
    await expect.poll(texts).toEqual(["0", "1", "2"]);
    await bridge.restart();
    const ids = [await put(conversation, "3"), await put(conversation, "4")];
    await put("user:staff001", "elsewhere");
    await expect.poll(texts).toContain("elsewhere");
    await expect.poll(texts).toContain("3");
    await bridge.restart();
    await put("user:staff001", "still here");
    await expect.poll(texts).toContain("still here");
    expect(await view(ids[1] ?? "")).toMatchObject({ status: "queued", attempts: 0 });
    expect(texts()).not.toContain("4");
  });
});

describe("a throttle answer", () => {
  it("of a conversation (130101, send.too.fast, flowControlled) pauses it alone", async () => {
    bridge = await startBridge({ ...SILENT, dingtalk: { knobs: { userPerMinute: 1, webhookPerMinute: 1 } } });
    const [one, two] = [await group("一"), await group("二")];
    know("staff003", "staff004", "staff005");
    for (const to of [one, "user:staff003"]) for (let n = 0; n < 3; n += 1) await put(to, `${to.slice(0, 8)} ${n}`);
    await expect.poll(() => refused().length).toBe(1);
    for (const to of [two, "user:staff004"]) await put(to, "not concerned");
    await expect.poll(() => texts().filter((each) => each === "not concerned").length).toBe(2);
    // The flow control of a person is no error code: it is in the body of a 200.
    const asked = (): number =>
      bridge.dingtalk.requests.filter(({ path }) => /batchSend|sendBySession/.test(path)).length;
    const before = asked();
    // A gate that opens hurries lanes, not these.
    await put("user:staff005", "another");
    await expect.poll(texts).toContain("another");
    expect(asked()).toBe(before + 1);
    expect(texts().filter((each) => each.startsWith("conversa") || each.startsWith("user:sta"))).toHaveLength(2);
  });

  it("of an API pauses that API for all conversations, and no other", async () => {
    bridge = await startBridge(SILENT);
    const conversation = await group("一");
    const { dingtalk } = bridge;
    know("staff003", "staff004", "staff005", "staff006", "staff007");
    dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "qpsLimit", count: 1 });
    await put("user:staff003", "throttled");
    await expect.poll(refused).toHaveLength(1);
    for (let n = 4; n < 8; n += 1) await put(`user:staff00${n}`, "waits");
    await put(conversation, "by webhook");
    await expect.poll(texts).toEqual(["by webhook"]);
    await expect.poll(() => texts().length, { timeout: 10_000 }).toBe(6);
    const [first = 0, second = 0] = dingtalk.calls({ api: "oToMessages/batchSend" });
    expect(second - first).toBeGreaterThanOrEqual(1_990);
    expect(refused()).toHaveLength(1);
  });

  it("stops what waits for the limiter already", async () => {
    bridge = await startBridge({ ...SILENT, env: { BRIDGE_LIMITS_API_PER_SECOND: "2" } });
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "qpsLimit", count: 2 });
    for (let n = 0; n < 8; n += 1) {
      know(`staff10${n}`);
      await put(`user:staff10${n}`, `${n}`);
    }
    await expect.poll(() => texts().length, { timeout: 20_000 }).toBe(8);
    const at = bridge.dingtalk.calls({ api: "oToMessages/batchSend" });
    expect((at[2] ?? 0) - (at[1] ?? 0)).toBeGreaterThanOrEqual(1_900);
  });

  it("about the whole address pauses everything of the account", async () => {
    bridge = await startBridge(SILENT);
    const conversation = await group("一");
    know("staff003", "staff004");
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "ipBlockedJson", count: 1 });
    const id = await put("user:staff003", "blocked");
    await expect.poll(() => view(id)).toMatchObject({ status: "retrying" });
    const ids = [await put(conversation, "waits"), await put("user:staff004", "waits, too")];
    const before = bridge.dingtalk.requests.length;
    expect((await bridge.dingtalk.say({ text: "still listening" })).delivered).toBe(true);
    await expect.poll(() => bridge.gateway.taken.length).toBe(2);
    for (const each of ids) expect(await view(each)).toMatchObject({ status: "queued" });
    expect(bridge.dingtalk.requests.length).toBe(before);
  });
});

describe("one endpoint that is away", () => {
  it("leaves the others alone, and its messages take the other road where there is one", async () => {
    bridge = await startBridge(SILENT);
    const { dingtalk } = bridge;
    await (await dingtalk.say({ text: "hi" })).acked();
    dingtalk.faults.api("sendBySession", { kind: "error", error: "badGateway" });
    for (let n = 0; n < 3; n += 1) {
      await (await dingtalk.say({ text: "hi", from: `staff20${n}` })).acked();
      await put(`user:staff20${n}`, `${n}`);
    }
    await expect.poll(() => bridge.logs.text, { timeout: 15_000 }).toContain("peer is away");
    await put("user:staff001", "by the Open API");
    await expect.poll(() => texts().length, { timeout: 15_000 }).toBe(4);
    expect(new Set(dingtalk.sent.map(({ route }) => route))).toEqual(new Set(["oto"]));
  });
});
