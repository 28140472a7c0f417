/**
 * Kills the real daemon with SIGKILL at random moments under load, both ways, and counts what was lost.
 * `npm run test:crash -- --rounds 200 --rate 150`. Ends with status 1 when a promise was broken.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { deriveToken } from "../../src/domain/account.ts";
import { knobPresets } from "../../src/sandbox/dingtalk-knobs.ts";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { startGatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { Daemon, freePort } from "../support/daemon.ts";
import { Ledger } from "./ledger.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    /** Messages written per second. */
    rate: { type: "string", default: "100" },
    conversations: { type: "string", default: "20" },
  },
});
const rounds = Number(values.rounds);
const APP = { appKey: "dingcrashtest000001", appSecret: "crash-test-secret" };
const REDELIVER_MS = 2_000;
const DRAIN_MS = 60_000;

const dataDir = mkdtempSync(join(tmpdir(), "bridge-crash-"));
const dingtalk = await startDingtalkSimulator({
  apps: [APP],
  knobs: { ...knobPresets.unlimited, redeliverAfterMs: REDELIVER_MS, redeliveries: 5 },
});
const gateway = await startGatewaySimulator({
  accounts: [{ id: "main", appKey: APP.appKey, token: deriveToken(APP.appKey, APP.appSecret) }],
});
const port = await freePort();
gateway.bridgeUrl = `http://127.0.0.1:${port}`;
const daemon = new Daemon({
  DINGTALK_APP_KEY: APP.appKey,
  DINGTALK_APP_SECRET: APP.appSecret,
  DINGTALK_API_BASE: dingtalk.url,
  DINGTALK_OAPI_BASE: dingtalk.url,
  BRIDGE_GATEWAY_URL: gateway.url,
  BRIDGE_PORT: String(port),
  BRIDGE_DATA_DIR: dataDir,
  BRIDGE_LIMITS_API_PER_SECOND: "10000",
});
const ledger = new Ledger();
const byId = new Map<string, ReturnType<Ledger["write"]>>();

dingtalk.events.on("ack", (ack) => {
  const one = ack.msgId === undefined ? undefined : byId.get(ack.msgId);
  if (one && ack.code === 200) one.ackedAt ??= performance.now();
});
gateway.events.on("replied", ({ envelope, status }) => {
  if (envelope.type !== "message" || status >= 300) return;
  ledger.replied(`收到:${envelope.message.text}`, envelope.message.conversation.id);
});

const writing = new AbortController();
const load = write();
let kills = 0;
try {
  await connect();
  for (let round = 1; round <= rounds; round += 1) {
    const lived = 20 + Math.random() * 1_980;
    await delay(lived);
    await daemon.kill();
    kills += 1;
    await connect();
    process.stdout.write(
      `round ${round}/${rounds}: killed after ${Math.round(lived)} ms, accepted so far ${ledger.accepted.length}\n`,
    );
  }
} finally {
  writing.abort();
  await load;
}
const until = performance.now() + DRAIN_MS;
while (!ledger.settled(dingtalk, gateway) && performance.now() < until) await delay(100);

const status = await daemon.stop();
const verdict = ledger.judge(dingtalk, gateway);
const integrity = new DatabaseSync(join(dataDir, "bridge.db")).prepare("PRAGMA integrity_check").get();
await gateway.close();
await dingtalk.close();
rmSync(dataDir, { recursive: true, force: true });

const { lostInbound, disorderInbound, lostOutbound, disorderOutbound, ...counts } = verdict;
const broken = [...lostInbound, ...disorderInbound, ...lostOutbound, ...disorderOutbound];
console.log({
  rounds,
  kills,
  ...counts,
  replies: ledger.replies,
  lostInbound: lostInbound.length,
  lostOutbound: lostOutbound.length,
  disorderInbound: disorderInbound.length,
  disorderOutbound: disorderOutbound.length,
  integrity: integrity?.["integrity_check"],
  lastExit: status,
  protocolProblems: dingtalk.problems.length,
});
if (broken.length > 0) console.error("broken:", broken.slice(0, 20));
const failed = broken.length > 0 || status !== 0 || integrity?.["integrity_check"] !== "ok" || verdict.accepted === 0;
if (failed) console.error([...new Set(daemon.errors)].slice(-10).join("\n"));
console.log(failed ? "0 passed, 1 failed" : "1 passed, 0 failed");
process.exitCode = failed ? 1 : 0;

/** People write at a steady rate, whether or not the bridge is there. */
async function write(): Promise<void> {
  const everyMs = 1_000 / Number(values.rate);
  const conversations = Number(values.conversations);
  for (let n = 0; !writing.signal.aborted; n += 1) {
    const from = `staff${String(1 + (n % conversations)).padStart(3, "0")}`;
    const text = `${from}-${n}`;
    const group = n % 2 === 0 ? `组${n % conversations}` : undefined;
    const one = ledger.write(text, group ?? from);
    const push = await dingtalk.say({ from, text, ...(group !== undefined && { group }) });
    byId.set(push.msgId ?? "", one);
    await delay(everyMs);
  }
}

async function connect(): Promise<void> {
  const connected = dingtalk.waitFor("connected", () => true, 20_000);
  daemon.start();
  await connected;
}
