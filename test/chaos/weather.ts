import { setTimeout as delay } from "node:timers/promises";
import type { FaultProxy } from "../support/fault-proxy.ts";
import type { Stage } from "../crash/stage.ts";

/** How often each kind of trouble was made. */
export type Weather = Record<string, number>;

interface Trouble {
  name: string;
  make: () => void | Promise<void>;
  /** Ends after so long. */
  lastsMs?: number;
  /** Not again within so long: a half-open Stream takes the bridge up to half a minute to notice, without any message. */
  restMs?: number;
}

/** Makes one trouble after another until `signal` fires, then fair weather. Resolves with what it made. */
export async function stormy(
  stage: Stage,
  proxies: { dingtalk: FaultProxy; gateway: FaultProxy },
  signal: AbortSignal,
): Promise<Weather> {
  const troubles: Trouble[] = [
    { name: "stream aborted", make: () => stage.dingtalk.call("fault", "abort") },
    { name: "stream asked to leave", make: () => stage.dingtalk.call("fault", "disconnect", { graceMs: 500 }) },
    {
      name: "stream half open",
      make: () => proxies.dingtalk.setWebSockets({ kind: "black-hole", way: "both" }),
      restMs: 120_000,
    },
    { name: "DingTalk connections reset", make: () => proxies.dingtalk.reset() },
    {
      name: "DingTalk slow",
      make: () => proxies.dingtalk.setHttp({ kind: "latency", ms: 100 }),
      lastsMs: 2_000,
    },
    {
      name: "DingTalk answers lost",
      make: () => proxies.dingtalk.setHttp({ kind: "cut-answer", afterBytes: 0 }),
      lastsMs: 300,
    },
    {
      name: "DingTalk unreachable",
      make: () => proxies.dingtalk.setHttp({ kind: "reset" }),
      lastsMs: 1_000,
    },
    { name: "gateway connections reset", make: () => proxies.gateway.reset() },
    {
      name: "gateway black hole",
      make: () => proxies.gateway.set({ kind: "black-hole", way: "down" }),
      lastsMs: 1_500,
    },
    {
      name: "gateway killed",
      make: async () => {
        await stage.gateway.kill();
        await stage.gateway.start();
      },
    },
  ];
  const made: Weather = {};
  const restUntil = new Map<string, number>();
  while (!signal.aborted) {
    const able = troubles.filter(({ name }) => performance.now() >= (restUntil.get(name) ?? 0));
    const trouble = able[Math.floor(Math.random() * able.length)];
    if (!trouble) break;
    restUntil.set(trouble.name, performance.now() + (trouble.restMs ?? 0));
    made[trouble.name] = (made[trouble.name] ?? 0) + 1;
    proxies.dingtalk.bury();
    await trouble.make();
    await pause(trouble.lastsMs ?? 0, signal);
    proxies.gateway.set({ kind: "pass" });
    proxies.dingtalk.setHttp({ kind: "pass" });
    await pause(1_000 + Math.random() * 4_000, signal);
  }
  proxies.dingtalk.bury();
  // A half-open WebSocket stays so: the bridge has to find out.
  return made;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
