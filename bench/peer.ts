/**
 * One party of a measurement as a process of its own: `node bench/peer.ts dingtalk|gateway|caller`, started by rig.ts
 * through test/crash/peers.ts. DingTalk makes its own load, because writing frames is the load; calls to the bridge's
 * API are made by a third process. Times are of a clock that all processes share.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Agent, request } from "undici";
import { startDingtalkSimulator } from "../src/sandbox/dingtalk-simulator.ts";
import type { SimulatorOptions } from "../src/sandbox/dingtalk-types.ts";
import {
  type GatewayMode,
  type GatewaySimulatorOptions,
  startGatewaySimulator,
} from "../src/sandbox/gateway-simulator.ts";
import { sharedNow } from "../test/support/daemon-proc.ts";
import { servePeer } from "../test/crash/peer-channel.ts";
import { CardRecords } from "./cards.ts";
import { type StreamLoad, driveStreams } from "./stream-load.ts";

/** Messages at a steady rate, or as fast as `inFlight` unanswered ones allow. */
export interface Load {
  prefix: string;
  seconds: number;
  perSecond?: number;
  inFlight?: number;
  conversations: number;
  /** App keys, for several accounts. */
  apps?: string[];
  /** Calls carry it. */
  token?: string;
}

export type Times = [text: string, at: number][];

/** Runs `send` as the load says; each is over when its promise settles. */
async function drive(load: Load, send: (n: number) => Promise<unknown>): Promise<number> {
  const began = performance.now();
  const open = new Set<Promise<unknown>>();
  let n = 0;
  for (; performance.now() - began < load.seconds * 1_000; n += 1) {
    const wait = load.perSecond === undefined ? 0 : began + (n * 1_000) / load.perSecond - performance.now();
    if (wait > 0) await delay(wait);
    const one: Promise<unknown> = send(n).finally(() => open.delete(one));
    open.add(one);
    if (open.size >= (load.inFlight ?? Infinity)) await Promise.race(open);
  }
  await Promise.all(open);
  return n;
}

const staff = (lane: number): string => `staff${String(lane).padStart(4, "0")}`;

async function dingtalk(options: SimulatorOptions) {
  const simulator = await startDingtalkSimulator(options);
  let sent: Times = [];
  let ackMs: number[] = [];
  const cards = new CardRecords(simulator);
  simulator.events.on("connected", () => process.send?.({ event: "connected" }));
  simulator.events.on("ack", ({ latencyMs }) => ackMs.push(latencyMs));
  simulator.events.on("sent", ({ text }) => sent.push([text, sharedNow()]));
  const say = async (load: Load, n: number): Promise<[string, number]> => {
    const text = `${load.prefix}${n}`;
    const app = load.apps?.[n % load.apps.length];
    const at = sharedNow();
    const push = await simulator.say({ from: staff(n % load.conversations), text, ...(app !== undefined && { app }) });
    if (load.inFlight !== undefined) await push.acked(30_000);
    return [text, at];
  };
  return {
    say: async (load: Load): Promise<{ said: Times; ackMs: number[] }> => {
      ackMs = [];
      const said: Times = [];
      await drive(load, async (n) => said.push(await say(load, n)));
      const until = performance.now() + 10_000;
      while (ackMs.length < said.length && performance.now() < until) await delay(10);
      return { said, ackMs };
    },
    /** What was sent since the last call, once `count` are there or `ms` have passed. */
    sent: async (count: number, ms: number): Promise<Times> => {
      const until = performance.now() + ms;
      while (sent.length < count && performance.now() < until) await delay(10);
      const result = sent;
      sent = [];
      return result;
    },
    halfOpen: () => simulator.faults.halfOpen(),
    live: () => simulator.connections.filter(({ mode }) => mode === "normal").length,
    /** Calls of sending APIs: how many, how many were refused, and the most in any second. */
    calls: (api: string) => {
      const all = simulator.requests.filter((one) => one.api === api);
      return {
        total: all.length,
        refused: all.filter(({ code }) => code !== "ok").length,
        busiest: simulator.busiest(1_000, { api }),
        seconds: ((all.at(-1)?.at ?? 0) - (all[0]?.at ?? 0)) / 1_000,
      };
    },
    cards: () => cards.take(),
    problems: () => simulator.problems,
  };
}

async function gateway(options: GatewaySimulatorOptions) {
  const simulator = await startGatewaySimulator(options);
  let taken: Times = [];
  simulator.events.on("turn", (envelope) => {
    if (envelope.type === "message") taken.push([envelope.message.text, sharedNow()]);
  });
  return {
    mode: (mode: GatewayMode) => {
      simulator.mode = mode;
    },
    taken: async (count: number, ms: number): Promise<Times> => {
      const until = performance.now() + ms;
      while (taken.length < count && performance.now() < until) await delay(10);
      const result = taken;
      taken = [];
      return result;
    },
  };
}

/** Calls the bridge's API as a gateway does. */
function caller({ url }: { url: string }) {
  const agent = new Agent({ connections: 128, pipelining: 1 });
  const post = async (load: Load, n: number): Promise<[string, number]> => {
    const text = `${load.prefix}${n}`;
    const at = sharedNow();
    const answer = await request(`${url}/v1/messages`, {
      dispatcher: agent,
      method: "POST",
      headers: {
        authorization: `Bearer ${load.token}`,
        "content-type": "application/json",
        "idempotency-key": text,
      },
      body: JSON.stringify({
        account: "main",
        to: `user:${staff(n % load.conversations)}`,
        content: { type: "text", text },
      }),
    });
    const body = await answer.body.text();
    if (answer.statusCode !== 202) throw new Error(`POST /v1/messages: ${answer.statusCode} ${body}`);
    return [text, at];
  };
  return {
    streams: (load: StreamLoad) => driveStreams(load, { url, dispatcher: agent }),
    post: async (load: Load): Promise<{ called: Times; answered: number[] }> => {
      const called: Times = [];
      const answered: number[] = [];
      await drive(load, async (n) => {
        const one = await post(load, n);
        called.push(one);
        answered.push(sharedNow() - one[1]);
      });
      return { called, answered };
    },
  };
}

servePeer({ dingtalk, gateway, caller });
