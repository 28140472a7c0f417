import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Reaction, ReactionApi } from "../../src/dingtalk/reactions.ts";
import { TokenSource } from "../../src/dingtalk/token.ts";
import { systemClock } from "../../src/ops/clock.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { connect } from "../sandbox/dingtalk-client.ts";
import { type Caller, startCaller } from "../support/dingtalk-http.ts";

const account = { name: "main", appKey: "dingapp1", appSecret: "secret-1", robotCode: "dingapp1" };

let sim: DingtalkSimulator;
let caller: Caller;
let reaction: Reaction;

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [{ appKey: account.appKey, appSecret: account.appSecret }] });
  // Longer than any test: the time limit of reactions is their own.
  caller = startCaller(60_000);
  (await connect(sim)).autoAck();
  const { body } = await sim.say({ text: "hi" });
  const { msgId, conversationId } = body as { msgId: string; conversationId: string };
  reaction = { openMsgId: msgId, openConversationId: conversationId, name: "🤔思考中" };
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await sim.close();
});

function reactions(options: { attachMs?: number[]; recallMs?: number[]; timeoutMs?: number } = {}): ReactionApi {
  const { call, logger } = caller;
  const tokens = new TokenSource({ account, apiBase: sim.url, call, clock: systemClock, logger });
  const common = { account, apiBase: sim.url, call, tokens, logger, metrics: createMetrics() };
  return new ReactionApi({ ...common, attachMs: [0, 1, 1], recallMs: [0, 1, 1], ...options });
}

const calls = (api: string): number => sim.calls({ api }).length;

test("a reaction comes and goes", async () => {
  const api = reactions();
  expect(await api.attach(reaction)).toEqual({ kind: "delivered" });
  expect(sim.reactions).toMatchObject([{ msgId: reaction.openMsgId, name: "🤔思考中" }]);
  expect(sim.reactions[0]?.recalled).toBeUndefined();
  expect(await api.recall(reaction)).toEqual({ kind: "delivered" });
  expect(sim.reactions).toMatchObject([{ recalled: true }]);
  expect(sim.problems).toEqual([]);
});

describe("a failure", () => {
  test.each(["attach", "recall"] as const)("that passes is tried again: %s", async (action) => {
    const api = action === "attach" ? "emotion/reply" : "emotion/recall";
    const body = { code: "system.err", message: "system error" };
    sim.faults.api(api, { kind: "answer", status: 500, body, count: 1 });
    sim.faults.api(api, { kind: "error", error: "badGateway", count: 1 });
    expect(await reactions()[action](reaction)).toEqual({ kind: "delivered" });
    expect(calls(api)).toBe(3);
  });

  test("that does not pass ends after the last try", async () => {
    const outcome = await reactions().attach({ ...reaction, openMsgId: "msgNobodySaid==" });
    expect(outcome).toMatchObject({ kind: "retry", code: "dingtalk_unavailable" });
    expect(calls("emotion/reply")).toBe(3);
    expect(caller.logged()).toContain("reaction without effect");
  });

  test.each(["permissionDenied", "qpsLimit", "apiCountLimit"] as const)("%s is not tried again", async (error) => {
    sim.faults.api("emotion/reply", { kind: "error", error });
    expect(await reactions().attach(reaction)).toMatchObject({ kind: "retry", class: "peer-away" });
    expect(calls("emotion/reply")).toBe(1);
  });

  test("a text that DingTalk does not take is not tried again", async () => {
    expect(await reactions().attach({ ...reaction, name: "" })).toMatchObject({ kind: "rejected" });
    expect(calls("emotion/reply")).toBe(1);
  });

  test("no answer in time", async () => {
    sim.faults.api("emotion/reply", { kind: "hang" });
    const outcome = await reactions({ timeoutMs: 100, attachMs: [0, 0] }).attach(reaction);
    expect(outcome).toMatchObject({ kind: "uncertain", code: "dingtalk_timeout" });
    expect(calls("emotion/reply")).toBe(2);
  });

  test("given up between two tries, and before the first", async () => {
    const giveUp = new AbortController();
    sim.faults.api("emotion/reply", { kind: "error", error: "badGateway" });
    const pending = reactions({ attachMs: [0, 3_600_000] }).attach(reaction, giveUp.signal);
    await sim.until("request", ({ api }) => api === "emotion/reply");
    giveUp.abort();
    expect(await pending).toMatchObject({ code: "interrupted" });
    expect(await reactions().attach(reaction, giveUp.signal)).toMatchObject({ code: "interrupted" });
    expect(calls("emotion/reply")).toBe(1);
  });

  test("whatever is thrown is an outcome", async () => {
    const { logger } = caller;
    const call = () => Promise.reject(new Error("a bug"));
    const tokens = new TokenSource({ account, apiBase: sim.url, call: caller.call, clock: systemClock, logger });
    const api = new ReactionApi({ account, apiBase: sim.url, call, tokens, logger, metrics: createMetrics() });
    expect(await api.attach(reaction)).toEqual({ kind: "rejected", code: "internal", detail: "a bug" });
  });
});
