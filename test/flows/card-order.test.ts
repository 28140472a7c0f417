import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SEE_NEXT_MESSAGE } from "../../src/domain/notices.ts";
import type { ApiFault } from "../../src/sandbox/dingtalk-faults.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { QUICK, appeared, cardOf, ended, finish, messages, open, put, settled, shownOn } from "./stream-support.ts";

const STREAM = "card/streaming";
const SEE_NEXT = SEE_NEXT_MESSAGE["zh-CN"];
const LIMIT = 200;

let bridge: TestBridge;
const start = (patienceMs: number) =>
  startBridge({
    gateway: { mode: { kind: "silent" } },
    env: { ...QUICK, BRIDGE_REPLY_CARD_CHARACTERS: String(LIMIT) },
    overrides: { replyTimings: { patienceMs, lateCreationMs: 100 } },
  });
beforeEach(async () => {
  bridge = await start(60_000);
});
afterEach(() => bridge.close());

const words = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `w${from + index}.`);
/** Words in paragraphs of five. */
const textOf = (count: number): string =>
  words(0, count)
    .map((word, index) => (index % 5 === 4 ? `${word}\n\n` : `${word} `))
    .join("")
    .trimEnd();
const ALL = words(0, 100);
const wordsIn = (texts: readonly string[]): string[] => texts.flatMap((text) => text.match(/w\d+\./g) ?? []);
const sent = (): string[] => wordsIn(messages(bridge));

const fault = (what: ApiFault): void => bridge.dingtalk.faults.api(STREAM, what);
const refusal = (code: string): ApiFault => ({ kind: "answer", status: 400, body: { code, message: "no" }, count: 1 });
const finals = (): number =>
  bridge.dingtalk.requests.filter(({ body }) => (body as { isFinalize?: boolean } | undefined)?.isFinalize === true)
    .length;

async function shown(words = 5): Promise<string> {
  const { id } = await open(bridge);
  await put(bridge, id, 0, textOf(words));
  await appeared(bridge, id);
  return id;
}

async function say(text: string): Promise<void> {
  const body = { to: "user:staff001", content: { type: "text", text } };
  expect((await bridge.api("POST", "/v1/messages", body)).status).toBe(202);
}

describe("a long reply whose card", () => {
  it("shows its beginning: the rest below it, and what is said after it below that", async () => {
    const id = await shown();
    fault({ kind: "slow", delayMs: 300, count: 1 });
    await finish(bridge, id, textOf(100));
    await say("danach");
    await settled(bridge);
    const head = shownOn(bridge, id) ?? "";
    expect(wordsIn([head, ...messages(bridge)])).toEqual(ALL);
    expect(messages(bridge).at(-1)).toBe("danach");
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it.each([
    ["is refused its text", refusal("param.contentUnsafe"), SEE_NEXT],
    ["is gone", refusal("param.stream.outTrackId"), undefined],
  ])("%s is sent as messages, from the beginning", async (_, what, left) => {
    const id = await shown();
    fault(what);
    const { id: last } = await finish(bridge, id, textOf(100));
    await say("danach");
    await settled(bridge);
    expect(sent()).toEqual(ALL);
    expect(messages(bridge).at(-1)).toBe("danach");
    if (left !== undefined) expect((await ended(bridge, id)).params["msgContent"]).toBe(left);
    const view = (await (await bridge.api("GET", `/v1/messages/${last}`)).json()) as {
      status: string;
      parts: unknown[];
    };
    expect(view.status).toBe("delivered");
    expect(view.parts).toHaveLength(messages(bridge).length - 1);
  });

  it("was full before the end, and is refused its text then", async () => {
    const id = await shown();
    fault({ kind: "error", error: "systemBusy" });
    await put(bridge, id, 1, textOf(60));
    await expect.poll(finals).toBeGreaterThan(0);
    await finish(bridge, id, textOf(100));
    await say("danach");
    bridge.dingtalk.faults.clear();
    fault(refusal("param.contentUnsafe"));
    await settled(bridge);
    expect(sent()).toEqual(ALL);
    expect(messages(bridge).at(-1)).toBe("danach");
  });

  it("does not come to its end for long: all of it is sent, and the card says so when it can", async () => {
    await bridge.close();
    bridge = await start(300);
    const id = await shown();
    fault({ kind: "error", error: "unavailable" });
    await finish(bridge, id, textOf(100));
    await expect.poll(sent, { timeout: 20_000 }).toEqual(ALL);
    expect(cardOf(bridge, id)?.flowStatus).not.toBe("3");
    bridge.dingtalk.faults.clear();
    expect((await ended(bridge, id)).params["msgContent"]).toBe(SEE_NEXT);
    await settled(bridge);
    expect(sent()).toEqual(ALL);
  });

  it("has not come to its end when the bridge is started again", async () => {
    const id = await shown();
    fault({ kind: "error", error: "systemBusy" });
    await finish(bridge, id, textOf(100));
    await expect.poll(finals).toBeGreaterThan(0);
    await bridge.restart();
    expect(messages(bridge)).toEqual([]);
    bridge.dingtalk.faults.clear();
    fault(refusal("param.contentUnsafe"));
    await settled(bridge);
    expect(sent()).toEqual(ALL);
  });

  it("is refused its text when its rest was cancelled: the beginning is sent alone", async () => {
    const id = await shown();
    fault({ kind: "error", error: "systemBusy" });
    const { id: last } = await finish(bridge, id, textOf(100));
    await expect.poll(async () => (await bridge.api("DELETE", `/v1/messages/${last}`)).status).toBe(200);
    bridge.dingtalk.faults.clear();
    fault(refusal("param.contentUnsafe"));
    await settled(bridge);
    expect(sent()).toEqual(ALL.slice(0, sent().length));
    expect(sent().length).toBeGreaterThan(0);
    expect(sent().length).toBeLessThan(ALL.length);
  });
});
