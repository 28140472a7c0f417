import { expect, onTestFinished } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

type Options = NonNullable<Parameters<typeof startBridge>[0]>;

/** A bridge with these variables, whose gateway answers nothing unless the test says otherwise; closed when the test ends. */
export async function bridgeWith(env: Record<string, string>, options: Options = {}): Promise<TestBridge> {
  const bridge = await startBridge({
    ...options,
    gateway: { mode: { kind: "silent" }, ...options.gateway },
    env: { ...options.env, ...env },
  });
  onTestFinished(() => bridge.close());
  return bridge;
}

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** A wall clock that can be moved, DingTalk's with it. */
export function movableClock() {
  const clock = { ahead: 0, now: () => Date.now() + clock.ahead, monotonic: () => performance.now() };
  const move = (bridge: TestBridge, ms: number): void => {
    clock.ahead += ms;
    bridge.dingtalk.setKnobs({ clockSkewMs: clock.ahead });
  };
  return { clock, move };
}

export interface Sent {
  id: string;
  status: string;
  error?: { code: string };
}

/** Sends a text, waiting until it is settled. */
export async function send(bridge: TestBridge, to: string, text: string, extra: object = {}): Promise<Sent> {
  const body = { to, content: { type: "text", text }, ...extra };
  const response = await bridge.api("POST", "/v1/messages", body, { prefer: "wait=10" });
  return (await response.json()) as Sent;
}

/** Somebody says something, and the bridge has it. The id of the envelope. */
export async function said(bridge: TestBridge, text: string, from = "staff001"): Promise<string> {
  const push = await bridge.dingtalk.say({ text, from });
  await push.acked();
  return `main:${push.msgId}`;
}

export const texts = (bridge: TestBridge): string[] => bridge.dingtalk.sent.map(({ text }) => text);

/** Texts that the gateway has taken. */
export const taken = (bridge: TestBridge): string[] =>
  bridge.gateway.taken.flatMap((one) => (one.type === "message" ? [one.message.text] : []));

/** Codes of the dead letters. */
export async function deadLetters(bridge: TestBridge): Promise<string[]> {
  const body = (await (await bridge.api("GET", "/v1/dead-letters")).json()) as {
    deadLetters: { error: { code: string } }[];
  };
  return body.deadLetters.map(({ error }) => error.code);
}

/** A whole exchange in both directions, so that whatever was ready to happen before has had its turn. */
export async function exchange(bridge: TestBridge): Promise<void> {
  bridge.dingtalk.addUser({ staffId: "bystander", name: "王五" });
  for (let n = 0; n < 3; n += 1) {
    await said(bridge, `bystander ${n}`, "bystander");
    expect((await bridge.api("GET", "/v1/status")).status).toBe(200);
  }
}
