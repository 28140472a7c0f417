import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { QUICK, appeared, ended, finish, open, put } from "../flows/stream-support.ts";
import { bridgeWith, movableClock, said, send } from "../settings/support.ts";
import { APP, TOKEN, type TestBridge } from "../support/bridge.ts";
import { Daemon, freePort } from "../support/daemon.ts";

const MB = 1_024 * 1_024;
const MINUTE = 60_000;

/** Samples that are not 0, `name{labels}` to value. */
async function samples(url: string): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`, {
    headers: { authorization: `Bearer ${TOKEN}`, connection: "close" },
  });
  const lines = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const values = lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))] as const);
  return new Map(values.filter(([, value]) => value !== 0));
}

/** Collects what moves, over a whole run. */
class Movements {
  readonly #moved = new Set<string>();
  readonly #bridge: TestBridge;

  constructor(bridge: TestBridge) {
    this.#bridge = bridge;
  }

  /** Waits until a sample that begins so is not 0 (or, `least`, has come to that); all others are noted too. */
  async until(prefix: string, least = Number.MIN_VALUE): Promise<void> {
    const found = async (): Promise<number> => {
      const now = await samples(this.#bridge.url);
      for (const name of now.keys()) this.#moved.add(name);
      const mine = [...now].filter(([name]) => name.startsWith(`dingtalk_bridge_${prefix}`));
      return Math.max(0, ...mine.map(([, value]) => value));
    };
    await expect.poll(found, { timeout: 10_000, message: prefix }).toBeGreaterThanOrEqual(least);
  }

  /** Metrics that were declared, and never anything but 0. */
  get never(): string[] {
    const names = createMetrics()
      .registry.getMetricsAsArray()
      .map(({ name }) => name);
    const moved = [...this.#moved].map((sample) => sample.replace(/\{.*/, "").replace(/_(count|sum|bucket)$/, ""));
    return names.filter((name) => !moved.includes(name));
  }
}

it("every metric moves in a run where everything happens once", { timeout: 60_000 }, async () => {
  const { clock, move } = movableClock();
  const disk = { free: 1_000 * MB };
  const bridge = await bridgeWith(
    { ...QUICK, BRIDGE_QUOTA_CALLS: "60" },
    {
      dingtalk: { knobs: { redeliverAfterMs: 100, redeliveries: 1_000 } },
      overrides: { clock, lagEveryMs: 20, watch: { everyMs: 20, freeBytes: () => Promise.resolve(disk.free) } },
    },
  );
  const { dingtalk, gateway } = bridge;
  const seen = new Movements(bridge);

  // A connection, messages in and out, by webhook and by API, with their times.
  await seen.until('stream_connected{account="main"}');
  await seen.until('stream_connects_total{account="main",result="ok"}');
  await said(bridge, "in");
  await seen.until('stream_frames_total{account="main",type="callback"}');
  await seen.until('ack_seconds_count{account="main"}');
  await seen.until('inbox_accepted_total{account="main"}');
  await seen.until("gateway_ready");
  await seen.until('gateway_seconds_count{outcome="delivered"}');
  await send(bridge, "user:staff001", "by webhook");
  await send(bridge, "user:staff002", "by API");
  await seen.until('sends_total{account="main",endpoint="webhook",code="ok"}');
  await seen.until('sends_total{account="main",endpoint="robot/oToMessages/batchSend",code="ok"}');
  await seen.until('send_seconds_count{endpoint="robot/oToMessages/batchSend"}', 1);
  await seen.until('limiter_wait_seconds_count{account="main",api="oto"}');
  await seen.until('api_messages_total{account="main",type="text"}', 2);
  await seen.until('settled_total{queue="outbox",state="delivered"}', 2);
  await seen.until("store_commit_seconds_count");
  await seen.until("data_dir_free_bytes");

  // A file, a reply that grows.
  await (await dingtalk.say({ msgtype: "picture" })).acked();
  await seen.until('media_fetches_total{account="main",result="stored"}');
  await seen.until('limiter_wait_seconds_count{account="main",api="download"}');
  await seen.until("media_files");
  const { id } = await open(bridge);
  await put(bridge, id, 0, "一");
  await appeared(bridge, id);
  await seen.until('replies_open{account="main",shown="card"}');
  await seen.until('card_updates_total{account="main",result="delivered"}');
  await finish(bridge, id, "一二");
  await ended(bridge, id);
  await seen.until('replies_ended_total{account="main",by="gateway",shown="card"}');

  // What goes wrong: a repetition, a push that nobody can read, one that cannot be stored, nobody to send to, no answer.
  dingtalk.faults.duplicateAcked(1);
  await said(bridge, "twice");
  await seen.until('inbox_duplicates_total{account="main"}');
  await dingtalk.push({ type: "CALLBACK", topic: "/v1.0/im/bot/messages/get", data: "{" });
  await seen.until('stream_frames_invalid_total{account="main",reason="unreadable_data"}');
  disk.free = 10 * MB;
  await expect.poll(() => bridge.app.health().status).toBe("down");
  const refused = await dingtalk.say({ text: "no room" });
  await seen.until('acks_failed_total{account="main",reason="not_stored"}');
  disk.free = 1_000 * MB;
  await refused.acked();
  await send(bridge, "user:nobody", "?");
  await seen.until('sends_total{account="main",endpoint="robot/oToMessages/batchSend",code="recipient_unknown"}');
  await seen.until('dead_letters{queue="outbox"}');
  dingtalk.faults.api("oToMessages/batchSend", { kind: "reset", executed: true, count: 1 });
  await send(bridge, "user:staff002", "perhaps");
  await seen.until('uncertain_total{queue="outbox"}');

  // Something waits, for longer and longer.
  gateway.mode = { kind: "answer", status: 503, retryAfterS: 0 };
  await said(bridge, "waits");
  await seen.until('open_entries{queue="inbox"}');
  move(bridge, 2 * MINUTE);
  await seen.until('oldest_entry_seconds{queue="inbox"}', 120);
  await seen.until('lagging_lanes{queue="inbox"}');
  await seen.until("clock_steps_total");

  // The connection is lost and comes back; the month's quota runs out.
  dingtalk.faults.abort();
  await seen.until('stream_closes_total{account="main"');
  await seen.until('stream_gaps_total{account="main"}');
  await seen.until('stream_gap_seconds_total{account="main"}');
  for (const budget of ["calls", "units"] as const) dingtalk.faults.exhaust(budget);
  await send(bridge, "user:staff002", "too much");
  await seen.until("quota_closed{");
  for (let n = 0; n < 20; n += 1) await send(bridge, "user:staff002", `${n}`);
  await seen.until("quota_ladder{");
  await seen.until("quota_used{");

  expect(seen.never).toEqual([]);
});

it("the real program tells of its process too: the event loop, memory, processor", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bridge-metrics-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const dingtalk = await startDingtalkSimulator({ apps: [APP] });
  onTestFinished(() => dingtalk.close());
  const port = await freePort();
  const daemon = new Daemon({
    HOME: directory,
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_DATA_DIR: join(directory, "data"),
    BRIDGE_PORT: String(port),
  });
  onTestFinished(() => daemon.kill());
  const connected = dingtalk.waitFor("connected", () => true, 15_000);
  daemon.start();
  await connected;
  const now = await samples(`http://127.0.0.1:${port}`);
  for (const name of [
    "nodejs_eventloop_lag_p99_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
  ]) {
    expect(now.get(name), name).toBeGreaterThan(0);
  }
  expect(await daemon.stop()).toBe(0);
});
