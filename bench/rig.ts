import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { knobPresets, type SimulatorKnobs } from "../src/sandbox/dingtalk-knobs.ts";
import type { GatewayMode } from "../src/sandbox/gateway-simulator.ts";
import { gauge } from "../test/chaos/samples.ts";
import { Peer } from "../test/crash/peers.ts";
import { BUILT_MAIN, Daemon, freePort } from "../test/support/daemon.ts";
import { liftedLimits } from "../test/support/daemon-limits.ts";
import { sharedNow } from "../test/support/daemon-proc.ts";
import type { CardsSeen } from "./cards.ts";
import type { Load, Times } from "./peer.ts";
import type { StreamLoad, StreamTimes } from "./stream-load.ts";

const PEER = new URL("peer.ts", import.meta.url);
const TOKEN = "bench-token-of-all-accounts";

export interface RigOptions {
  accounts?: number;
  mode?: GatewayMode;
  knobs?: Partial<SimulatorKnobs>;
  env?: Record<string, string>;
  /** Nobody listens where the bridge looks for the gateway. */
  withoutGateway?: boolean;
  /** Fills the data directory before the daemon starts. */
  fill?: (dataDir: string) => Promise<void>;
}

/** For comparisons and profiles: `DAEMON_NODE_ARGS="--cpu-prof --max-semi-space-size=4" npm run bench`. */
const NODE_ARGS = process.env["DAEMON_NODE_ARGS"]?.split(" ") ?? [];

/** The built daemon between DingTalk, the gateway and a caller of its API: four processes. */
export class Rig {
  readonly dingtalk: Peer;
  readonly gateway: Peer;
  readonly caller: Peer;
  readonly daemon: Daemon;
  readonly appKeys: string[];
  readonly dataDir: string;
  readonly #bridgeUrl: string;

  private constructor(ports: { dingtalk: number; gateway: number; bridge: number }, options: RigOptions) {
    this.dataDir = mkdtempSync(join(tmpdir(), "bridge-bench-"));
    const apps = Array.from({ length: options.accounts ?? 1 }, (_, n) => ({
      appKey: `dingbench${String(n).padStart(10, "0")}`,
      appSecret: `bench-secret-${n}`,
    }));
    this.appKeys = apps.map(({ appKey }) => appKey);
    const [bridgeUrl, dingtalkUrl] = [`http://127.0.0.1:${ports.bridge}`, `http://127.0.0.1:${ports.dingtalk}`];
    this.#bridgeUrl = bridgeUrl;
    this.dingtalk = new Peer(PEER, ["dingtalk"], {
      apps,
      port: ports.dingtalk,
      knobs: { ...knobPresets.unlimited, maxRecords: 20_000, ...options.knobs },
    });
    const names = apps.map((_, n) => (n === 0 ? "main" : `account${n}`));
    this.gateway = new Peer(PEER, ["gateway"], {
      accounts: apps.map(({ appKey }, n) => ({ id: names[n] ?? "", appKey, token: TOKEN })),
      port: ports.gateway,
      bridgeUrl,
      mode: options.mode ?? { kind: "silent" },
    });
    this.caller = new Peer(PEER, ["caller"], { url: bridgeUrl });
    const [first, ...others] = apps;
    const more = Object.fromEntries(others.map((app, n) => [names[n + 1] ?? "", app]));
    this.daemon = new Daemon(
      {
        DINGTALK_APP_KEY: first?.appKey ?? "",
        DINGTALK_APP_SECRET: first?.appSecret ?? "",
        DINGTALK_API_BASE: dingtalkUrl,
        DINGTALK_OAPI_BASE: dingtalkUrl,
        BRIDGE_TOKEN: TOKEN,
        BRIDGE_GATEWAY_URL: `http://127.0.0.1:${options.withoutGateway ? 9 : ports.gateway}`,
        BRIDGE_PORT: String(ports.bridge),
        BRIDGE_DATA_DIR: this.dataDir,
        ...(others.length > 0 && { BRIDGE_CONFIG: writeConfig(this.dataDir, more) }),
        ...liftedLimits(),
        ...options.env,
      },
      { main: BUILT_MAIN },
    );
  }

  static async build(options: RigOptions = {}): Promise<Rig> {
    const ports = { dingtalk: await freePort(), gateway: await freePort(), bridge: await freePort() };
    const rig = new Rig(ports, options);
    await options.fill?.(rig.dataDir);
    await Promise.all([rig.dingtalk.start(), rig.gateway.start(), rig.caller.start()]);
    return rig;
  }

  /** Starts the daemon; milliseconds until all its accounts are connected, the start of the process included. */
  async connect(): Promise<number> {
    const began = sharedNow();
    const all = this.#allConnected();
    this.daemon.start({ nodeArgs: NODE_ARGS });
    await all;
    return sharedNow() - began;
  }

  /** Each account has connected once more. Fails after a minute. */
  async #allConnected(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let left = this.appKeys.length;
    const count = (): void => {
      left -= 1;
      if (left === 0) resolve();
    };
    const late = setTimeout(() => reject(new Error(`${left} accounts did not connect`)), 60_000);
    this.dingtalk.events.on("connected", count);
    await promise.finally(() => {
      clearTimeout(late);
      this.dingtalk.events.off("connected", count);
    });
  }

  say(load: Load): Promise<{ said: Times; ackMs: number[] }> {
    return this.dingtalk.call("say", { apps: this.appKeys, ...load });
  }

  post(load: Load): Promise<{ called: Times; answered: number[] }> {
    return this.caller.call("post", { token: TOKEN, ...load });
  }

  /** Replies that grow, from the first open to the last finish. */
  streams(load: Omit<StreamLoad, "token">): Promise<StreamTimes> {
    return this.caller.call("streams", { token: TOKEN, ...load });
  }

  /** What was to be seen of cards since the last call. */
  cards(): Promise<CardsSeen> {
    return this.dingtalk.call("cards");
  }

  taken(count: number, ms = 30_000): Promise<Times> {
    return this.gateway.call("taken", count, ms);
  }

  sent(count: number, ms = 30_000): Promise<Times> {
    return this.dingtalk.call("sent", count, ms);
  }

  /** Group commits so far: how many, the writes in them, and the seconds that the event loop stood in them. */
  async commits(): Promise<{ count: number; operations: number; seconds: number }> {
    const text = await this.metrics();
    const value = (name: string): number => gauge(text, `dingtalk_bridge_store_commit_${name}`) ?? Number.NaN;
    return { count: value("seconds_count"), operations: value("operations_total"), seconds: value("seconds_sum") };
  }

  /** Of the daemon, in the text format. */
  async metrics(): Promise<string> {
    const answer = await fetch(`${this.#bridgeUrl}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } });
    return answer.text();
  }

  /** Makes each conversation known, with its webhook, and the code warm. */
  async warmUp(conversations: number): Promise<void> {
    const seconds = Math.max(2, conversations / 200);
    const { said } = await this.say({ prefix: "warm", seconds, perSecond: 200, conversations });
    await this.taken(said.length);
    const { called } = await this.post({ prefix: "warm", seconds: 1, perSecond: 100, conversations });
    await this.sent(called.length);
  }

  async end(): Promise<void> {
    await this.daemon.stop();
    await Promise.all([this.dingtalk.kill(), this.gateway.kill(), this.caller.kill()]);
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

function writeConfig(directory: string, accounts: Record<string, { appKey: string; appSecret: string }>): string {
  const file = join(directory, "accounts.json5");
  writeFileSync(file, JSON.stringify({ accounts }), { mode: 0o600 });
  return file;
}

/** From each start to the first arrival of the same text, in milliseconds. */
export function latencies(from: Times, to: Times): number[] {
  const arrived = new Map<string, number>();
  for (const [text, at] of to) if (!arrived.has(text)) arrived.set(text, at);
  return from.flatMap(([text, at]) => {
    const arrival = arrived.get(text);
    return arrival === undefined ? [] : [arrival - at];
  });
}
