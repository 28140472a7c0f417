import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, describe, expect, it, vi } from "vitest";
import { heldTogether } from "../../src/flows/inbound.ts";
import { controlLane, conversationLane } from "../../src/queue/store.ts";
import { conversation, crashImage, entry, openStore, temporaryDirectory } from "../queue/helpers.ts";
import { type TestBridge, APP, startBridge } from "../support/bridge.ts";
import { type ScriptedAnswer, type ScriptedGateway, startScriptedGateway } from "../support/scripted-gateway.ts";

let bridge: TestBridge;
let scripted: ScriptedGateway | undefined;
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
  scripted = undefined;
});

const taken: ScriptedAnswer = { status: 200 };

async function startOne(options: Parameters<typeof startBridge>[0] = {}): Promise<void> {
  bridge = await startBridge(options);
  open.push(bridge);
}

/** A gateway that answers what waits for an answer when the test says so, and all else at once. */
async function start(
  waits: (text: string) => boolean,
  atOnce: (text: string) => ScriptedAnswer = () => taken,
  env: Record<string, string> = {},
): Promise<(text: string, answer: ScriptedAnswer) => Promise<void>> {
  const pending = new Map<string, (answer: ScriptedAnswer) => void>();
  scripted = await startScriptedGateway({ id: "main", appKey: APP.appKey }, (text) => {
    if (!waits(text)) return atOnce(text);
    return new Promise((resolve) => pending.set(text, resolve));
  });
  open.push(scripted);
  await startOne({ env: { BRIDGE_GATEWAY_URL: scripted.url, ...env } });
  return async (text, answer) => {
    await vi.waitFor(() => expect(pending.has(text)).toBe(true), 5_000);
    pending.get(text)?.(answer);
    pending.delete(text);
  };
}

async function say(text: string, options: { from?: string; group?: string } = {}): Promise<void> {
  await (await bridge.dingtalk.say({ text, ...options })).acked();
}

const posts = (): string[] => scripted?.posts.map(({ text }) => text) ?? [];

/** State and code of the inbox's messages by their text. */
function states(): Record<string, string> {
  const db = new DatabaseSync(join(bridge.dataDir, "bridge.db"), { readOnly: true });
  try {
    const rows = db
      .prepare(
        "SELECT json_extract(body, '$.data.text.content') AS text, state, error_code FROM entries WHERE queue = 'inbox'",
      )
      .all();
    return Object.fromEntries(
      rows.map(({ text, state, error_code: code }) => [
        String(text).trim(),
        code === null ? String(state) : `${String(state)} ${String(code)}`,
      ]),
    );
  } finally {
    db.close();
  }
}

describe("a stop word", () => {
  it.each([
    ["held (202)", { status: 202 }, "cancelled stopped"],
    ["not taken (503)", { status: 503 }, "cancelled stopped"],
    ["failed (500)", { status: 500 }, "cancelled stopped"],
    ["taken (200)", { status: 200 }, "delivered"],
    ["taken before (409)", { status: 409 }, "delivered"],
  ])("overtakes; what is under way is cancelled unless it is taken: %s", async (_name, answer, state) => {
    const end = await start((text) => text === "under way");
    await say("under way");
    await expect.poll(posts).toEqual(["under way"]);
    await say("waits");
    await say("/stop");
    await expect.poll(posts).toEqual(["under way", "/stop"]);
    expect(states()).toMatchObject({ waits: "cancelled stopped", "under way": "open" });
    await say("afterwards");
    await end("under way", answer);
    await expect.poll(posts).toEqual(["under way", "/stop", "afterwards"]);
    await expect.poll(states).toEqual({
      "under way": state,
      waits: "cancelled stopped",
      "/stop": "delivered",
      afterwards: "delivered",
    });
  });

  it("stops its own sender's messages of that conversation, and nobody else's", async () => {
    const end = await start((text) => text === "first");
    const group = "测试群";
    await say("first", { from: "staff002", group });
    await say("mine", { from: "staff001", group });
    await say("theirs", { from: "staff002", group });
    await expect.poll(posts).toEqual(["first"]);
    await say("/stop", { from: "staff001", group });
    await say("elsewhere", { from: "staff001" });
    await end("first", taken);
    await expect.poll(posts).toEqual(["first", "/stop", "elsewhere", "theirs"]);
    expect(states()["mine"]).toBe("cancelled stopped");
  });

  it("stops what the gateway holds: it is asked about no more", async () => {
    await start(
      () => false,
      (text) => (text.startsWith("held") ? { status: 202, retryAfter: 1 } : taken),
    );
    await say("held 1");
    await say("held 2");
    await expect.poll(posts).toEqual(["held 1", "held 1", "held 2"]);
    await say("/stop");
    await expect.poll(states).toMatchObject({ "held 1": "cancelled stopped", "held 2": "cancelled stopped" });
    await expect.poll(posts).toContain("/stop");
    const asked = posts().length;
    await say("new");
    await expect.poll(posts).toHaveLength(asked + 1);
    expect(posts().at(-1)).toBe("new");
  });

  it("stops what the gateway is just asked about again, and what it held before either side was started again", async () => {
    let asked = 0;
    const end = await start(
      (text) => text === "held" && ++asked === 2,
      (text) => (text.startsWith("held") ? { status: 202, retryAfter: 1 } : taken),
    );
    await say("held by others", { from: "staff002", group: "测试群" });
    await say("held");
    await expect.poll(() => asked, { timeout: 5_000 }).toBe(2);
    await say("/stop");
    await expect.poll(posts).toContain("/stop");
    await end("held", { status: 202, retryAfter: 1 });
    await expect.poll(states).toMatchObject({ held: "cancelled stopped", "held by others": "open" });
    await bridge.restart();
    await say("new");
    await expect.poll(posts).toContain("new");
    const others = posts().filter((text) => text === "held by others").length;
    await expect
      .poll(() => posts().filter((text) => text === "held by others").length, { timeout: 5_000 })
      .toBeGreaterThan(others);
    expect(posts().filter((text) => text === "held")).toHaveLength(2);
    const status = (await (await bridge.api("GET", "/v1/status")).json()) as { queues: { inbox: { open: number } } };
    expect(status.queues.inbox.open).toBe(1);
  });

  it("is the whole message, in any case and among spaces, and can be chosen", async () => {
    const end = await start((text) => text === "first", undefined, { BRIDGE_INBOUND_STOP_WORDS: "停止,/Abort" });
    await say("first");
    await expect.poll(posts).toEqual(["first"]);
    for (const text of ["/stop", "停止机器", "/abort please"]) await say(text);
    expect(posts()).toEqual(["first"]);
    await say("  /ABORT ");
    await expect.poll(posts).toEqual(["first", "/ABORT"]);
    await say("停止");
    await expect.poll(posts).toEqual(["first", "/ABORT", "停止"]);
    await end("first", taken);
    expect(Object.values(states()).filter((state) => state === "cancelled stopped")).toHaveLength(3);
  });

  it("that comes while the gateway is away leaves nothing for its return but itself", async () => {
    await startOne();
    await bridge.gateway.crash();
    for (const text of ["eins", "zwei", "/stop"]) await say(text);
    await bridge.gateway.comeBack();
    await expect.poll(() => bridge.gateway.taken.length, { timeout: 10_000 }).toBe(1);
    expect(bridge.gateway.taken).toMatchObject([{ message: { text: "/stop" } }]);
    expect(states()).toMatchObject({ eins: "cancelled stopped", zwei: "cancelled stopped" });
  });

  it("is repeated by DingTalk without harm", async () => {
    await startOne({ dingtalk: { knobs: { redeliverAfterMs: 50 } } });
    bridge.dingtalk.faults.duplicateAcked(1, 20);
    await say("/stop");
    await bridge.dingtalk.until("redelivered");
    await say("afterwards");
    await expect.poll(() => bridge.gateway.taken.length).toBe(2);
    expect(states()).toEqual({ "/stop": "delivered", afterwards: "delivered" });
  });
});

describe("in the store", () => {
  const A = conversationLane("main", "cidA");

  it("a crash while it is under way: it is not given again after its sender asked to stop", async () => {
    const directory = temporaryDirectory();
    const store = openStore(directory);
    const [asked, other] = await Promise.all([
      store.append(entry("asked", { lane: A, sender: "staff001" })),
      store.append(entry("other", { lane: A, sender: "staff002" })),
    ]);
    await store.begin(asked.seq);
    await store.begin(other.seq);
    const stop = entry("stop", { lane: controlLane(A), sender: "staff001", cancels: { lane: A } });
    expect(await store.append(stop)).toMatchObject({ cancelled: 1 });
    const after = openStore(crashImage(directory));
    expect(after.find("inbox", "main:asked")).toMatchObject({ state: "cancelled", error: { code: "stopped" } });
    expect(after.find("inbox", "main:asked")?.settledAt).toBeGreaterThan(1_600_000_000_000);
    expect(after.find("inbox", "main:other")).toMatchObject({ state: "open", crashes: 1, settledAt: undefined });
  });

  it("what was stopped and refused is not stopped once more when it is replayed", async () => {
    const store = openStore();
    const { seq } = await store.append(entry("a", { lane: A, sender: "staff001" }));
    await store.begin(seq);
    await store.append(entry("stop", { lane: controlLane(A), sender: "staff001", cancels: { lane: A } }));
    await store.settle(seq, { state: "dead", at: 1, error: { code: "rejected", detail: "" } });
    await store.replay("inbox", "main:a", 2);
    await store.settle(seq, { state: "open", dueAt: 3, counted: false });
    expect(store.find("inbox", "main:a")?.state).toBe("open");
  });

  it("its lane is not bound by what others are held", async () => {
    const store = openStore();
    await store.append(entry("a"), conversation({ id: "cidA", kind: "direct" }));
    await store.append(entry("g"), conversation({ id: "cidG", kind: "group" }));
    const group = heldTogether(store);
    const lanes = [A, controlLane(A), conversationLane("main", "cidG"), conversationLane("main", "nobody")];
    expect(lanes.map(group)).toEqual(["main", undefined, undefined, undefined]);
  });
});
