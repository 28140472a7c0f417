import { afterEach, describe, expect, it } from "vitest";
import type { Envelope } from "../../src/domain/envelope.ts";
import type { GatewaySimulatorOptions } from "../../src/sandbox/gateway-simulator.ts";
import { startBridge, type TestBridge } from "../support/bridge.ts";

let bridge: TestBridge;
afterEach(() => bridge.close());

type Pieces = (envelope: Envelope) => AsyncIterable<string> | undefined;

async function start(
  stream: Pieces,
  gateway: Partial<GatewaySimulatorOptions> = {},
  env: Record<string, string> = {},
): Promise<void> {
  bridge = await startBridge({ gateway: { stream, ...gateway }, env });
}

/** Says something and resolves with what the gateway was told of its answer's last call. */
async function converse(text: string): Promise<number> {
  const replied = new Promise<number>((resolve) =>
    bridge.gateway.events.once("replied", ({ status }) => resolve(status)),
  );
  await bridge.dingtalk.say({ text });
  return replied;
}

const pieces = (...texts: string[]): Pieces =>
  async function* () {
    yield* texts;
  };

describe("the gateway simulator's streams", () => {
  it("grow, and are finished with the whole text", async () => {
    await start(async function* () {
      yield "一";
      // The card is there before the rest is.
      await bridge.dingtalk.until("card", ({ delivered }) => delivered);
      yield "二";
      yield "三";
    });
    expect(await converse("数")).toBe(202);
    const card = await bridge.dingtalk.until("card", ({ finishedAt }) => finishedAt !== undefined);
    expect(card).toMatchObject({ flowStatus: "3", content: { msgContent: "一二三" } });
    expect(bridge.gateway.replied).toBe(1);
    expect(bridge.dingtalk.sent).toEqual([]);
    await expect.poll(() => bridge.gateway.replying).toBe(0);
  });

  it("are one message where the bridge shows no cards", async () => {
    await start(pieces("一", "二"), {}, { BRIDGE_REPLY_FORMAT: "text" });
    const sent = bridge.dingtalk.waitFor("sent");
    await converse("数");
    expect(await sent).toMatchObject({ text: "一二" });
  });

  it("fail where their source does, with what there is", async () => {
    await start(async function* () {
      yield "开头";
      await bridge.dingtalk.until("card", ({ delivered }) => delivered);
      throw new Error("no more");
    });
    await converse("数");
    const card = await bridge.dingtalk.until("card", ({ finishedAt }) => finishedAt !== undefined);
    expect(card.flowStatus).toBe("5");
    expect(card.content["msgContent"]).toContain("开头");
  });

  it("are sent as a message when the bridge has ended them meanwhile", async () => {
    const ended = Promise.withResolvers<void>();
    await start(
      async function* () {
        yield "开头";
        await ended.promise;
        yield "，结尾";
        yield "。";
      },
      {},
      { BRIDGE_REPLY_FORMAT: "markdown", BRIDGE_REPLY_IDLE_TIMEOUT: "5s" },
    );
    bridge.dingtalk.events.once("sent", () => ended.resolve());
    const whole = bridge.dingtalk.waitFor("sent", ({ text }) => text.includes("结尾"), 15_000);
    await converse("数");
    expect((await whole).text).toContain("开头，结尾。");
  });

  it("come at the end of a turn, and texts where there is no stream", async () => {
    const stream: Pieces = (envelope) =>
      envelope.type === "message" && envelope.message.text === "流" ? pieces("流", "出")(envelope) : undefined;
    await start(stream, { mode: { kind: "turns", turnMs: 1, retryAfterS: 1 } }, { BRIDGE_REPLY_FORMAT: "markdown" });
    const texts: string[] = [];
    bridge.dingtalk.events.on("sent", ({ text }) => texts.push(text));
    await converse("流");
    await expect.poll(() => texts).toEqual(["流出"]);
    await converse("不流");
    await expect.poll(() => texts).toEqual(["流出", "收到:不流"]);
  });
});
