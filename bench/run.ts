/**
 * `npm run bench`: the built daemon (dist/) as a process of its own, DingTalk and the gateway simulated in this one, durability
 * on. Prints what it ran on, then p50/p99 of each step. Asserts nothing: tests never assert a time.
 */
import { execFileSync } from "node:child_process";
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { DatabaseSync } from "node:sqlite";
import { parseArgs } from "node:util";
import { deriveToken } from "../src/domain/account.ts";
import { knobPresets } from "../src/sandbox/dingtalk-knobs.ts";
import { startDingtalkSimulator } from "../src/sandbox/dingtalk-simulator.ts";
import { startGatewaySimulator } from "../src/sandbox/gateway-simulator.ts";
import { Daemon, freePort } from "../test/support/daemon.ts";

const { values } = parseArgs({
  options: {
    rates: { type: "string", default: "100,200" },
    seconds: { type: "string", default: "10" },
    conversations: { type: "string", default: "50" },
  },
});
const APP = { appKey: "dingbench0000000001", appSecret: "bench-secret" };

const dataDir = mkdtempSync(join(tmpdir(), "bridge-bench-"));
printMachine();
const dingtalk = await startDingtalkSimulator({ apps: [APP], knobs: { ...knobPresets.unlimited } });
const gateway = await startGatewaySimulator({
  accounts: [{ id: "main", appKey: APP.appKey, token: deriveToken(APP.appKey, APP.appSecret) }],
});
const port = await freePort();
gateway.bridgeUrl = `http://127.0.0.1:${port}`;
const daemon = new Daemon(
  {
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_GATEWAY_URL: gateway.url,
    BRIDGE_PORT: String(port),
    BRIDGE_DATA_DIR: dataDir,
    BRIDGE_LIMITS_API_PER_SECOND: "100000",
  },
  { main: new URL("../dist/main.js", import.meta.url).pathname },
);
const startedAt = performance.now();
const connected = dingtalk.waitFor("connected", () => true, 20_000);
daemon.start();
await connected;
console.log(`start to connected: ${(performance.now() - startedAt).toFixed(0)} ms (process start included)`);

for (const rate of values.rates.split(",").map(Number)) await measure(rate);
console.log(`daemon RSS after the load: ${daemon.rssMb().toFixed(0)} MB`);
await daemon.stop();
await gateway.close();
await dingtalk.close();
rmSync(dataDir, { recursive: true, force: true });

async function measure(rate: number): Promise<void> {
  const total = rate * Number(values.seconds);
  const pushedAt = new Map<string, number>();
  const inbound: number[] = [];
  const outbound: number[] = [];
  const repliedAt = new Map<string, number>();
  const onTaken = (envelope: { id: string }): void => {
    inbound.push(performance.now() - (pushedAt.get(envelope.id.slice("main:".length)) ?? Number.NaN));
  };
  const onReplied = ({ envelope }: { envelope: { type: string; message?: { text: string } } }): void => {
    if (envelope.message) repliedAt.set(`收到:${envelope.message.text}`, performance.now());
  };
  const onSent = ({ text }: { text: string }): void => {
    outbound.push(performance.now() - (repliedAt.get(text) ?? performance.now()));
  };
  gateway.events.on("taken", onTaken);
  gateway.events.on("replied", onReplied);
  dingtalk.events.on("sent", onSent);
  const acksBefore = dingtalk.acks.length;
  const began = performance.now();
  for (let n = 0; n < total; n += 1) {
    const due = began + (n * 1_000) / rate;
    if (due > performance.now()) await delay(due - performance.now());
    const from = `staff${String(n % Number(values.conversations)).padStart(3, "0")}`;
    const at = performance.now();
    const push = await dingtalk.say({ from, text: `${rate}/s ${n}` });
    pushedAt.set(push.msgId ?? "", at);
  }
  const until = performance.now() + 30_000;
  while (outbound.length < total && performance.now() < until) await delay(20);
  gateway.events.off("taken", onTaken);
  gateway.events.off("replied", onReplied);
  dingtalk.events.off("sent", onSent);
  console.log(`\n${rate} messages/s for ${values.seconds} s, ${values.conversations} conversations`);
  row(
    "frame → ack",
    dingtalk.acks.slice(acksBefore).map(({ latencyMs }) => latencyMs),
  );
  row("frame → gateway has it (in)", inbound);
  row("reply accepted → DingTalk has it (out)", outbound);
}

function row(name: string, samples: number[]): void {
  const sorted = samples.filter(Number.isFinite).toSorted((a, b) => a - b);
  const at = (q: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN).toFixed(2);
  console.log(`  ${name.padEnd(40)} n=${sorted.length}  p50 ${at(0.5)} ms  p99 ${at(0.99)} ms  max ${at(1)} ms`);
}

function printMachine(): void {
  const sqlite = new DatabaseSync(":memory:").prepare("SELECT sqlite_version() AS v").get()?.["v"];
  const fsync = fsyncTimes().toSorted((a, b) => a - b);
  console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`);
  console.log(`Node ${process.version}, SQLite ${String(sqlite)}, ${execFileSync("uname", ["-sr"]).toString().trim()}`);
  console.log(`fsync of 4 KiB in the data directory: p50 ${fsync[50]?.toFixed(2)} ms, p99 ${fsync[99]?.toFixed(2)} ms`);
}

function fsyncTimes(): number[] {
  const file = openSync(join(dataDir, "fsync.probe"), "w");
  const block = Buffer.alloc(4_096);
  const times = Array.from({ length: 100 }, () => {
    const began = performance.now();
    writeSync(file, block);
    fsyncSync(file);
    return performance.now() - began;
  });
  closeSync(file);
  return times;
}
