import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { deriveToken } from "../../src/domain/account.ts";
import { knobPresets } from "../../src/sandbox/dingtalk-knobs.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type GatewaySimulator, startGatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { Daemon, freePort } from "../support/daemon.ts";
import { liftedLimits } from "../support/daemon-limits.ts";
import { Ledger, brokenPromises } from "./ledger.ts";
import { type Utterance, observeDingtalk, observeGateway, scriptedReply } from "./observe.ts";
import { LONG, SLOW } from "./script.ts";
import { integrityProblems } from "./stage.ts";

export interface Counts {
  commit: number;
  gateway: number;
  dingtalk: number;
}

export interface Outcome {
  point: string;
  /** The daemon died at the point; false when this run had fewer steps. */
  killed: boolean;
  broken: string[];
  summary: string;
  repeatedTurns: number;
  repeatedSends: number;
  /** Steps of a run without a kill. */
  counts: Counts | undefined;
}

const APP = { appKey: "dingcrashpoint00001", appSecret: "crash-point-secret" };
const KILLER = new URL("killer.ts", import.meta.url).href;
const LONG_TURN_MS = 400;
const GAP_MS = 40;
const LIMIT_MS = 45_000;

/** Two direct conversations and two groups in turn; one reply of several parts; one turn so long that others are held. */
const SCRIPT: Utterance[] = Array.from({ length: 20 }, (_, n) => {
  const lane = n % 4;
  const mark = n === 6 ? LONG : n === 8 ? SLOW : "";
  const said = { from: `staff00${1 + (lane % 2)}`, text: `句${n}${mark}` };
  return lane < 2 ? said : { ...said, group: `组${lane}` };
});

/** One performance with a fresh store, the daemon killed at `point` (killer.ts) and started again. */
export async function play(point: string | undefined): Promise<Outcome> {
  const home = mkdtempSync(join(tmpdir(), "bridge-point-"));
  // People's messages wait at DingTalk while the bridge is away, so that all of the script is always played.
  const dingtalk = await startDingtalkSimulator({
    apps: [APP],
    knobs: { ...knobPresets.unlimited, offline: "queue", redeliverAfterMs: 300, redeliveries: 20 },
  });
  const port = await freePort();
  const gateway = await startGatewaySimulator({
    accounts: [{ id: "main", appKey: APP.appKey, token: deriveToken(APP.appKey, APP.appSecret) }],
    bridgeUrl: `http://127.0.0.1:${port}`,
    reply: scriptedReply,
    mode: {
      kind: "turns",
      turnMs: (one) => (one.type === "message" && one.message.text.endsWith(SLOW) ? LONG_TURN_MS : 1),
      retryAfterS: 1,
    },
  });
  const countsFile = join(home, "counts.json");
  const daemon = new Daemon({
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_GATEWAY_URL: gateway.url,
    BRIDGE_PORT: String(port),
    BRIDGE_DATA_DIR: join(home, "data"),
    ...liftedLimits(),
  });
  try {
    const ledger = new Ledger();
    observeGateway(gateway, (entry) => ledger.add(entry));
    const say = observeDingtalk(dingtalk, (entry) => ledger.add(entry));
    const connected = dingtalk.waitFor("connected", () => true, LIMIT_MS).catch(() => undefined);
    daemon.start({
      nodeArgs: ["--import", KILLER],
      env: { KILL_GATEWAY: gateway.url, KILL_COUNTS: countsFile, ...(point !== undefined && { KILL_AT: point }) },
    });
    // One by one, so that each has commits of its own.
    const speaking = Promise.race([connected, daemon.ended()]).then(async () => {
      for (const one of SCRIPT) {
        await say(one);
        await delay(GAP_MS);
      }
    });
    const died = await Promise.race([
      daemon.ended().then(() => true),
      played(ledger, dingtalk, gateway).then(() => false),
    ]);
    let status = died ? null : await daemon.stop();
    // Some points are reached only while it stops.
    const killed = status === null;
    if (killed) {
      daemon.start();
      await speaking;
      await played(ledger, dingtalk, gateway);
      status = await daemon.stop();
    }
    await speaking;
    const { broken, ...rest } = outcome(ledger, killed ? 1 : 0);
    return {
      ...rest,
      point: point ?? "none",
      killed,
      counts: killed ? undefined : (JSON.parse(readFileSync(countsFile, "utf8")) as Counts),
      broken: [
        ...broken,
        ...(status === 0 ? [] : [`the bridge ended with status ${status}: ${daemon.errors.slice(-3).join(" ")}`]),
        ...(killed && point === undefined ? ["the bridge ended by itself"] : []),
        ...integrityProblems(join(home, "data")),
      ],
    };
  } finally {
    await daemon.kill();
    await gateway.close();
    await dingtalk.close();
    rmSync(home, { recursive: true, force: true });
  }
}

/** Resolves when all of the script was acked, taken, answered and delivered, or when it takes too long. */
async function played(ledger: Ledger, dingtalk: DingtalkSimulator, gateway: GatewaySimulator): Promise<void> {
  const until = performance.now() + LIMIT_MS;
  const complete = (): boolean =>
    ledger.acked === SCRIPT.length &&
    gateway.taken.length === SCRIPT.length &&
    gateway.unfinished === 0 &&
    gateway.replied >= SCRIPT.length &&
    ledger.settled &&
    dingtalk.connections.length > 0;
  while (!complete() && performance.now() < until) await delay(20);
}

function outcome(ledger: Ledger, kills: number) {
  const verdict = ledger.judge();
  return {
    broken: [
      ...brokenPromises(verdict, { turns: kills, sends: kills }),
      ...(verdict.acked === SCRIPT.length ? [] : [`only ${verdict.acked} of ${SCRIPT.length} were acked`]),
    ],
    summary: `${verdict.replied} pieces of replies, ${verdict.held} messages held, posts ${JSON.stringify(verdict.posts)}`,
    repeatedTurns: verdict.repeatedTurns,
    repeatedSends: verdict.repeatedSends,
  };
}
