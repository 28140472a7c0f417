import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { renderForCard } from "../../src/domain/card-text.ts";
import { NOTICES } from "../../src/domain/notices.ts";
import type { ApiFault } from "../../src/sandbox/dingtalk-faults.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type GatewaySimulator, startGatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { APP, TOKEN } from "../support/bridge.ts";
import { Daemon, freePort } from "../support/daemon.ts";

const CREATE = "card/instances/createAndDeliver";
const STREAM = "card/streaming";
const NOTE = NOTICES.interrupted["zh-CN"];
/** The least that may be asked for: a stream of which nothing is heard after a start ends as soon. */
const IDLE_MS = 1_000;
const WAIT = { timeout: 15_000 };

const paragraph = (n: number): string => `第 ${n} 段:今天的**安排**已经整理好了。\n请看下一行。`;
const textOf = (paragraphs: number): string => Array.from({ length: paragraphs }, (_, n) => paragraph(n)).join("\n\n");
const FIRST = textOf(1);
const MORE = textOf(2);
const ALL = textOf(3);

let dingtalk: DingtalkSimulator;
let gateway: GatewaySimulator;
let daemon: Daemon;
let url: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  dingtalk = await startDingtalkSimulator({ apps: [APP] });
  gateway = await startGatewaySimulator({
    accounts: [{ id: "main", appKey: APP.appKey, token: TOKEN }],
    deltaMs: 50,
    // A turn that would go on for ever.
    stream: async function* () {
      for (let n = 0; ; n += 1) yield `${n === 0 ? "" : "\n\n"}${paragraph(n)}`;
    },
  });
  const home = mkdtempSync(join(tmpdir(), "bridge-streams-"));
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  gateway.bridgeUrl = url;
  daemon = new Daemon({
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_GATEWAY_URL: gateway.url,
    BRIDGE_PORT: String(port),
    BRIDGE_DATA_DIR: join(home, "data"),
    BRIDGE_QUOTA_PLAN: "professional",
    BRIDGE_REPLY_CARD_INTERVAL: "200ms",
    BRIDGE_REPLY_IDLE_TIMEOUT: "5s",
  });
  cleanups.push(
    () => rmSync(home, { recursive: true, force: true }),
    () => dingtalk.close(),
    () => gateway.close(),
    () => daemon.kill(),
  );
  await startDaemon();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function startDaemon(): Promise<void> {
  const connected = dingtalk.waitFor("connected", () => true, 15_000);
  daemon.start();
  await connected;
}

async function killAndRestart(): Promise<void> {
  await daemon.kill();
  dingtalk.faults.clear();
  await startDaemon();
}

function call(method: string, path: string, body: object): Promise<Response> {
  return fetch(new URL(path, url), {
    method,
    headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json", connection: "close" },
    body: JSON.stringify(body),
  });
}

async function open(): Promise<string> {
  const response = await call("POST", "/v1/streams", { to: "user:staff001", idleTimeoutMs: IDLE_MS });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}
const put = async (id: string, seq: number, text: string): Promise<number> =>
  (await call("PUT", `/v1/streams/${id}`, { seq, text })).status;
const finish = async (id: string, text = ALL): Promise<unknown> => {
  const response = await call("POST", `/v1/streams/${id}/finish`, { text, outcome: "done", to: "user:staff001" });
  return { code: response.status, ...((await response.json()) as object) };
};

/** Calls that DingTalk has got, answered or not. */
const asked = (api: string): number => dingtalk.requests.filter((one) => one.api === api).length;
const contentOf = (n = 0): string | undefined => dingtalk.cards[n]?.params["msgContent"];

async function expectEnd(text: string): Promise<void> {
  await expect.poll(() => dingtalk.cards[0]?.flowStatus, WAIT).toBe("3");
  expect(contentOf()).toBe(renderForCard(text));
  expect(dingtalk.cards).toHaveLength(1);
  expect(dingtalk.cards[0]).toMatchObject({ deliveries: 1, blank: false });
  expect(dingtalk.sent).toEqual([]);
  expect(dingtalk.problems).toEqual([]);
}

/** A stream whose card says the first text. */
async function shown(): Promise<string> {
  const id = await open();
  expect(await put(id, 1, FIRST)).toBe(204);
  await expect.poll(() => asked(STREAM), WAIT).toBeGreaterThan(0);
  return id;
}

const NEVER_ANSWERED: ApiFault = { kind: "hang", executed: false };
const ANSWER_LOST: ApiFault = { kind: "hang", executed: true };

/** Up to the step at which the daemon is killed. Gives the stream, and the least of its text that must be kept. */
const POINTS: Record<string, () => Promise<{ id: string; known: string }>> = {
  "while the creation of its card is asked for": async () => {
    dingtalk.faults.api(CREATE, NEVER_ANSWERED);
    const id = await open();
    expect(await put(id, 1, FIRST)).toBe(204);
    await expect.poll(() => asked(CREATE), WAIT).toBe(1);
    return { id, known: FIRST };
  },
  "after its card was created and before that was answered": async () => {
    dingtalk.faults.api(CREATE, ANSWER_LOST);
    const id = await open();
    expect(await put(id, 1, FIRST)).toBe(204);
    await dingtalk.until("card", ({ delivered }) => delivered);
    return { id, known: FIRST };
  },
  "when its card is there": async () => ({ id: await shown(), known: FIRST }),
  "while an update is asked for": async () => {
    const id = await shown();
    dingtalk.faults.api(STREAM, NEVER_ANSWERED);
    const before = asked(STREAM);
    expect(await put(id, 2, MORE)).toBe(204);
    await expect.poll(() => asked(STREAM), WAIT).toBeGreaterThan(before);
    return { id, known: FIRST };
  },
  "after an update and before that was answered": async () => {
    const id = await shown();
    dingtalk.faults.api(STREAM, ANSWER_LOST);
    expect(await put(id, 2, MORE)).toBe(204);
    await expect.poll(() => contentOf(), WAIT).toBe(renderForCard(MORE, { writing: true }));
    return { id, known: FIRST };
  },
};

describe("a stream whose daemon is killed", () => {
  describe.each(Object.entries(POINTS))("%s", (_, upTo) => {
    it("goes on with the same card", async () => {
      const { id } = await upTo();
      await killAndRestart();
      expect(await put(id, 3, MORE)).toBe(204);
      expect(await finish(id)).toMatchObject({ code: 202, duplicate: false });
      await expectEnd(ALL);
      expect(await finish(id)).toMatchObject({ code: 202, duplicate: true });
    });

    it("ends with what is known when nothing more is heard", async () => {
      const { known } = await upTo();
      await killAndRestart();
      await expect.poll(() => dingtalk.cards[0]?.flowStatus, WAIT).toBe("3");
      expect([known, MORE].map((text) => renderForCard(`${text}\n\n${NOTE}`))).toContain(contentOf());
      expect(dingtalk.cards).toHaveLength(1);
      expect(dingtalk.cards[0]).toMatchObject({ deliveries: 1 });
      expect(dingtalk.sent).toEqual([]);
      expect(dingtalk.problems).toEqual([]);
    });
  });

  it.each([
    ["before its end is asked for", NEVER_ANSWERED],
    ["after its end and before that was answered", ANSWER_LOST],
  ])("is finished once when its finish was answered: %s", async (_, fault) => {
    const id = await shown();
    dingtalk.faults.api(STREAM, fault);
    const before = asked(STREAM);
    expect(await finish(id)).toMatchObject({ code: 202, duplicate: false });
    await expect.poll(() => asked(STREAM), WAIT).toBeGreaterThan(before);
    await killAndRestart();
    await expectEnd(ALL);
    expect(await finish(id)).toMatchObject({ code: 202, duplicate: true });
  });

  it("says the rest of a text that is too long for its card once, below it", async () => {
    const long = Array.from({ length: 60 }, (_, n) => `〔${n}〕${"很长的一段话。".repeat(12)}`).join("\n\n");
    const id = await open();
    expect(await put(id, 1, long.slice(0, 4_000))).toBe(204);
    await expect.poll(() => dingtalk.cards[0]?.flowStatus, WAIT).toBe("3");
    await killAndRestart();
    expect(await finish(id, long)).toMatchObject({ code: 202, duplicate: false });
    await expect.poll(() => dingtalk.sent.length, WAIT).toBeGreaterThan(0);
    await expect
      .poll(() => [contentOf() ?? "", ...dingtalk.sent.map(({ text }) => text)].join("").replaceAll(/\s/g, ""), WAIT)
      .toBe(long.replaceAll(/\s/g, ""));
    expect(dingtalk.cards).toHaveLength(1);
  });
});

it("ends a reply whose gateway has died, with what is known", async () => {
  await dingtalk.say({ from: "staff001", text: "开始" });
  await dingtalk.until("card", ({ streamed }) => streamed > 1, 15_000);
  await gateway.crash();
  await expect.poll(() => dingtalk.cards[0]?.flowStatus, WAIT).toBe("3");
  const said = contentOf() ?? "";
  expect(said.endsWith(NOTE)).toBe(true);
  expect(said.startsWith(renderForCard(FIRST))).toBe(true);
  expect(dingtalk.cards).toHaveLength(1);
  expect(dingtalk.sent).toEqual([]);
});
