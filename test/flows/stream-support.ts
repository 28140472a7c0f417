import { expect } from "vitest";
import type { SimulatedCard } from "../../src/sandbox/dingtalk-card-types.ts";
import type { TestBridge } from "../support/bridge.ts";

export interface Opened {
  id: string;
  mode: string;
}

export interface Finished {
  id: string;
  duplicate: boolean;
  status: string;
}

/** Short times, no limits that the test is not about. */
export const QUICK: Record<string, string> = {
  BRIDGE_REPLY_CARD_INTERVAL: "200",
  BRIDGE_REPLY_CARD_MAX_INTERVAL: "200",
  BRIDGE_REPLY_INDICATOR: "off",
  BRIDGE_QUOTA_PLAN: "professional",
  BRIDGE_LIMITS_GROUP_PER_MINUTE: "10000",
  BRIDGE_LIMITS_CONVERSATION_PER_SECOND: "1000",
};

export async function open(bridge: TestBridge, extra: object = {}): Promise<Opened> {
  const response = await bridge.api("POST", "/v1/streams", { to: "user:staff001", ...extra });
  const body = (await response.json()) as Opened;
  expect(response.status, JSON.stringify(body)).toBe(201);
  return body;
}

/** The status of the answer, with its code where it is a problem. */
export async function put(
  bridge: TestBridge,
  id: string,
  seq: number,
  text: string,
  extra: object = {},
): Promise<unknown> {
  const response = await bridge.api("PUT", `/v1/streams/${id}`, { seq, text, ...extra });
  if (response.status === 204) return 204;
  const { code } = (await response.json()) as { code: string };
  return [response.status, code];
}

export async function finish(bridge: TestBridge, id: string, text: string, extra: object = {}): Promise<Finished> {
  const response = await bridge.api("POST", `/v1/streams/${id}/finish`, { text, outcome: "done", ...extra });
  const body = (await response.json()) as Finished;
  expect(response.status, JSON.stringify(body)).toBe(202);
  return body;
}

/** The refusal of a finish. */
export async function refusedFinish(bridge: TestBridge, id: string, body: object): Promise<unknown> {
  const response = await bridge.api("POST", `/v1/streams/${id}/finish`, { text: "", outcome: "done", ...body });
  return [response.status, ((await response.json()) as { code: string }).code];
}

export const trackOf = (id: string): string => id.replace("st_", "br_");

/** The stream's card as DingTalk has it. */
export const cardOf = (bridge: TestBridge, id: string): SimulatedCard | undefined => bridge.dingtalk.card(trackOf(id));

export const shownOn = (bridge: TestBridge, id: string, key = "msgContent"): string | undefined =>
  cardOf(bridge, id)?.params[key];

/** Waits until the card of the stream is in a chat. */
export async function appeared(bridge: TestBridge, id: string): Promise<SimulatedCard> {
  return bridge.dingtalk.until("card", (card) => card.outTrackId === trackOf(id) && card.delivered, 15_000);
}

/** Waits until the card of the stream is finished or failed. */
export async function ended(bridge: TestBridge, id: string, flowStatus = "3"): Promise<SimulatedCard> {
  await expect.poll(() => cardOf(bridge, id)?.flowStatus, { timeout: 30_000 }).toBe(flowStatus);
  return cardOf(bridge, id) as SimulatedCard;
}

/** Texts that were sent as messages. */
export const messages = (bridge: TestBridge): string[] => bridge.dingtalk.sent.map(({ text }) => text);

/** Calls of the card APIs, by name, in order. */
export const cardCalls = (bridge: TestBridge): string[] =>
  bridge.dingtalk.requests.filter(({ api }) => api.startsWith("card/")).map(({ api }) => api.replace("card/", ""));

/** Nothing of the outbox is left to do. */
export async function settled(bridge: TestBridge): Promise<void> {
  await expect
    .poll(
      async () => {
        const status = (await (await bridge.api("GET", "/v1/status")).json()) as {
          queues: { outbox: { open: number } };
        };
        return status.queues.outbox.open;
      },
      { timeout: 30_000 },
    )
    .toBe(0);
}
