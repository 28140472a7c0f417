import { afterEach, beforeEach, expect, test } from "vitest";
import { createOutbound } from "../src/outbound.ts";
import { type FakeAnswer, FakeBridge, problem } from "./support/fake-bridge.ts";

const bridge = new FakeBridge();
let isRunning: boolean;
let bridgeUrl: string;
const traffic = { sent: () => undefined, failed: () => undefined };

beforeEach(async () => {
  isRunning = true;
  bridge.calls.length = 0;
  bridge.lines.length = 0;
  bridge.script.clear();
  await bridge.start();
  bridgeUrl = bridge.url;
});
afterEach(() => bridge.stop());

/** Sends as OpenClaw does. */
async function send(change: object = {}, settings: object = {}): Promise<unknown> {
  const say = (line: string): number => bridge.lines.push(line);
  const outbound = createOutbound({
    env: {},
    userAgent: "test",
    log: { info: say, warn: say, error: say },
    patienceAtPromptMs: 0,
    runtime: () => undefined,
    traffic: () => (isRunning ? traffic : undefined),
  });
  const dingtalk = { appKey: "k", appSecret: "s", bridgeUrl, ...settings };
  return await outbound.sendText?.({ cfg: { channels: { dingtalk } }, to: "user:staff001", text: "hi", ...change });
}

const state = (status: string, change: object = {}): FakeAnswer => ({
  status: status === "queued" ? 202 : 200,
  body: { id: "out_1", duplicate: false, status, attempts: 1, parts: [], ...change },
});
const script = (...answers: FakeAnswer[]) => bridge.script.set("POST /v1/messages", answers);
const posted = () => bridge.of("POST /v1/messages");

test("a send waits a little for what becomes of it, and comes back with the ids", async () => {
  script(state("delivered", { parts: [{ route: "open-api", receipt: "pqk1" }, { route: "webhook" }] }));
  expect(await send()).toEqual({
    channel: "dingtalk",
    messageId: "out_1",
    meta: { status: "delivered", receipts: ["pqk1"] },
  });
  expect(posted()[0]?.headers["prefer"]).toBe("wait=5");
  expect(posted()[0]?.body).toEqual({
    account: "main",
    to: "user:staff001",
    content: { type: "text", text: "hi" },
  });
});

test("what is taken and not delivered yet is told as such", async () => {
  const error = { code: "dingtalk_throttled", detail: "too fast" };
  script(state("retrying", { error }));
  expect(await send()).toMatchObject({ meta: { status: "retrying", detail: "dingtalk_throttled: too fast" } });
  expect(bridge.lines).toEqual([
    "dingtalk: the bridge has taken message out_1 to user:staff001 but not delivered it yet: retrying (dingtalk_throttled: too fast); it goes on by itself",
  ]);
});

test("a bridge that knows no waiting is as good", async () => {
  expect(await send()).toMatchObject({ meta: { status: "queued" } });
});

test.for([
  [
    {},
    /^dingtalk: message out_1 to user:staff001 was not delivered: recipient_unknown \(nobody\); check the staffId/,
    "NotSent",
  ],
  [{ parts: [{ route: "webhook" }] }, /part of it may have arrived$/, "Error"],
  [{ uncertain: true }, /part of it may have arrived$/, "Error"],
] as const)("DingTalk's refusal is told to the sender: %j", async ([change, words, name]) => {
  script(state("dead", { error: { code: "recipient_unknown", detail: "nobody" }, ...change }));
  const error = (await send().catch((thrown: unknown) => thrown)) as Error;
  expect(error.message).toMatch(words);
  // Only what nobody can have seen may be called not sent.
  expect(error.name).toBe(name);
});

test.for([
  [problem(422, "invalid_request"), /the bridge refused it: invalid_request/],
  [
    problem(401, "unauthorized"),
    /^dingtalk: not sent: the bridge at \S+ refuses the token of account default; give both/,
  ],
] as const)("the refusal %j is told with what to do", async ([answer, words]) => {
  script(answer);
  bridge.script.set("GET /v1/status", [problem(401, "unauthorized")]);
  await expect(send()).rejects.toThrow(words);
});

test("a bridge of another contract is told, whatever it answers", async () => {
  script({ ...state("delivered"), headers: { "x-bridge-contract": "2" } });
  await expect(send()).rejects.toThrow(/contract "2", this plugin 1; install the plugin/);
});

test("nothing is sent to what is no target, nor without credentials", async () => {
  await expect(send({ to: "session:cidabc" })).rejects.toThrow(/lower-cased/);
  await expect(send({}, { appSecret: "" })).rejects.toThrow(/no App Key and App Secret; run "openclaw channels add/);
  expect(bridge.calls).toEqual([]);
});

test("at a prompt the wait is longer, and a bridge that is away is told soon", async () => {
  isRunning = false;
  await send();
  expect(posted()[0]?.headers["prefer"]).toBe("wait=10");
  await bridge.stop();
  await expect(send()).rejects.toThrow(/not sent: no bridge answers at \S+ \(ECONNREFUSED\); start it with/);
});

test.for([
  ["main:msgA==", "main:msgA=="],
  ["msgA==", "main:msgA=="],
  ["out_1", undefined],
  ["other:msgA==", undefined],
  [undefined, undefined],
] as const)("an answer to %j is one to %j", async ([replyToId, inReplyTo]) => {
  await send({ replyToId });
  expect((posted()[0]?.body as { inReplyTo?: string }).inReplyTo).toBe(inReplyTo);
});

test("what OpenClaw repeats has the same key", async () => {
  await send({ deliveryQueueId: "q1", deliveryPartIndex: 2 });
  await send({ deliveryQueueId: "q1", deliveryPartIndex: 2 });
  expect(posted().map(({ headers }) => headers["idempotency-key"])).toEqual(["q1/2", "q1/2"]);
});
