import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, describe, expect, it } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { APP, type TestBridge, startBridge } from "../support/bridge.ts";

const MB = 1024 * 1024;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  const failures: unknown[] = [];
  // All of them, whatever one does: a file system must not stay mounted.
  for (const cleanup of cleanups.splice(0).toReversed()) {
    try {
      await cleanup();
    } catch (error) {
      failures.push(error);
    }
  }
  expect(failures).toEqual([]);
});

interface Health {
  http: number;
  status: string;
  mends: string[];
  components: Record<string, { status: string; code?: string }>;
}

async function health(bridge: TestBridge): Promise<Health> {
  const response = await fetch(new URL("/healthz", bridge.url), { headers: { connection: "close" } });
  return { http: response.status, ...((await response.json()) as Omit<Health, "http">) };
}

async function post(bridge: TestBridge, staffId: string, text: string, headers = {}) {
  const body = { to: `user:${staffId}`, content: { type: "text", text } };
  const response = await bridge.api("POST", "/v1/messages", body, headers);
  const answer = (await response.json()) as { id: string; code?: string; status: string | number };
  return { ...answer, http: response.status, retryAfter: response.headers.get("retry-after") };
}

const sent = (bridge: TestBridge): string[] => bridge.dingtalk.sent.map(({ text }) => text);

/** A file system of its own of 8 MB, where this user may mount one. */
function smallDisk(): string | undefined {
  const directory = mkdtempSync(join(tmpdir(), "bridge-disk-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", directory], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  cleanups.push(() => execFileSync("umount", ["-l", directory]));
  return directory;
}

/** Takes every byte that is left, in the store's own log too, so that its next write needs room; the result gives them back. */
function fill(directory: string): () => void {
  const store = new DatabaseSync(join(directory, "bridge.db"));
  store.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  store.close();
  const file = join(directory, "somebody-elses.log");
  const handle = openSync(file, "w");
  for (const chunk of [Buffer.alloc(64 * 1024), Buffer.alloc(1)]) {
    try {
      for (;;) writeSync(handle, chunk);
    } catch (error) {
      expect(error).toMatchObject({ code: "ENOSPC" });
    }
  }
  closeSync(handle);
  return () => rmSync(file);
}

describe("a disk that is really full", () => {
  it("takes nothing, forgets nothing, sends nothing twice, and goes on without a restart when there is room", async (test) => {
    const disk = smallDisk();
    if (disk === undefined) return test.skip("this user may not mount a file system");
    const bridge = await startBridge({
      env: { BRIDGE_DATA_DIR: disk, BRIDGE_DISK_MIN_FREE_MB: "0" },
      dingtalk: { knobs: { redeliverAfterMs: 300, redeliveries: 1_000 } },
      overrides: { watch: { everyMs: 50 } },
    });
    cleanups.push(() => bridge.close());
    const before = await post(bridge, "staff001", "before", { prefer: "wait=10" });
    expect(before).toMatchObject({ http: 200, status: "delivered" });

    // One reply is on its way, in two parts, while the last byte goes.
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "slow", delayMs: 500, count: 1 });
    const long = `${"甲".repeat(3_000)}\n\n${"乙".repeat(3_000)}`;
    const under = await post(bridge, "staff002", long);
    const behind = await post(bridge, "staff002", "behind");
    expect([under.http, behind.http]).toEqual([202, 202]);
    const requests = (): number => bridge.dingtalk.requests.filter(({ api }) => api === "oToMessages/batchSend").length;
    await expect.poll(requests).toBe(2);
    const free = fill(disk);

    const refused = await post(bridge, "staff001", "while full");
    expect(refused).toMatchObject({ http: 503, code: "store_unavailable", retryAfter: expect.any(String) });
    const push = await bridge.dingtalk.say({ text: "nobody is deaf" });
    await expect.poll(() => health(bridge)).toMatchObject({ http: 503, status: "down" });
    const { mends, components } = await health(bridge);
    expect(components["disk"]).toMatchObject({ status: "down", code: "store_unavailable" });
    expect(mends.join()).toContain("free space");
    // The part that was under way is delivered; the next waits until that is on disk. The push came again, unacked.
    await expect.poll(() => sent(bridge)).toHaveLength(2);
    await expect.poll(() => push.messageIds.length, { timeout: 15_000 }).toBeGreaterThanOrEqual(3);
    expect(bridge.dingtalk.acks).toEqual([]);
    expect(sent(bridge)).toHaveLength(2);
    expect(bridge.gateway.received).toEqual([]);

    free();
    await push.acked();
    await expect.poll(() => health(bridge), { timeout: 15_000 }).toMatchObject({ http: 200, status: "ok" });
    await expect.poll(() => sent(bridge).length, { timeout: 15_000 }).toBe(5);
    const texts = sent(bridge).map((text) => (text.length > 1_000 ? text.slice(0, 1) : text));
    expect(texts.toSorted()).toEqual(["before", "behind", "收到:nobody is deaf", "乙", "甲"].toSorted());
    expect(texts.filter((text) => ["甲", "乙", "behind"].includes(text))).toEqual(["甲", "乙", "behind"]);
    expect(bridge.gateway.taken).toHaveLength(1);
    expect(await post(bridge, "staff001", "after", { prefer: "wait=10" })).toMatchObject({ http: 200 });
    const said = bridge.logs.lines.map(({ msg }) => msg);
    expect(said.filter((msg) => msg === "the store takes no writes")).toHaveLength(1);
    expect(said.filter((msg) => msg === "the store takes writes again")).toHaveLength(1);
  });

  it("keeps what it took when it is stopped in that state and started again with room", async (test) => {
    const disk = smallDisk();
    if (disk === undefined) return test.skip("this user may not mount a file system");
    const bridge = await startBridge({
      env: { BRIDGE_DATA_DIR: disk, BRIDGE_DISK_MIN_FREE_MB: "0" },
      overrides: { watch: { everyMs: 50 } },
    });
    cleanups.push(() => bridge.close());
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "unavailable" });
    for (const text of ["1", "2", "3"]) expect((await post(bridge, "staff001", text)).http).toBe(202);
    const free = fill(disk);
    expect((await post(bridge, "staff001", "4")).http).toBe(503);
    await bridge.app.stop({ signal: AbortSignal.timeout(5_000) });
    free();
    bridge.dingtalk.faults.clear();
    await bridge.restart();
    await expect.poll(() => sent(bridge), { timeout: 15_000 }).toEqual(["1", "2", "3"]);
  });
});

describe("a disk that runs full", () => {
  it("refuses replies first, then messages, and takes both again", async () => {
    const disk = { free: 1_000 * MB };
    const bridge = await startBridge({
      dingtalk: { knobs: { redeliverAfterMs: 100, redeliveries: 1_000 } },
      overrides: { watch: { everyMs: 20, freeBytes: () => Promise.resolve(disk.free) } },
    });
    cleanups.push(() => bridge.close());
    const kept = await post(bridge, "staff001", "kept", { prefer: "wait=10" });

    disk.free = 90 * MB;
    await expect.poll(() => health(bridge)).toMatchObject({ http: 200, status: "degraded" });
    const refused = await post(bridge, "staff001", "no");
    expect(refused).toMatchObject({
      http: 503,
      code: "disk_low",
      mend: expect.stringContaining("BRIDGE_DISK_MIN_FREE_MB"),
    });
    expect(refused.retryAfter).toMatch(/^\d+$/);
    expect((await bridge.api("GET", `/v1/messages/${kept.id}`)).status).toBe(200);
    await (await bridge.dingtalk.say({ text: "still heard" })).acked();
    await expect.poll(() => bridge.gateway.taken.length).toBe(1);

    disk.free = 40 * MB;
    await expect.poll(() => health(bridge)).toMatchObject({ http: 503, status: "down" });
    const push = await bridge.dingtalk.say({ text: "later" });
    await expect.poll(() => push.messageIds.length).toBeGreaterThanOrEqual(3);
    expect(bridge.dingtalk.acks).toHaveLength(1);

    disk.free = 1_000 * MB;
    await push.acked();
    await expect
      .poll(() => bridge.gateway.taken.map((one) => one.type === "message" && one.message.text))
      .toEqual(["still heard", "later"]);
    await expect.poll(() => health(bridge)).toMatchObject({ http: 200, status: "ok" });
    expect((await post(bridge, "staff001", "yes")).http).toBe(202);
  });
});

/** The daemon as a process of its own. */
async function daemon(dataDir: string, output: number | "ignore") {
  const dingtalk = await startDingtalkSimulator({ apps: [APP] });
  cleanups.push(() => dingtalk.close());
  const start = () => {
    const child = spawn(process.execPath, [new URL("../../src/main.ts", import.meta.url).pathname, "start"], {
      env: {
        HOME: dataDir,
        DINGTALK_APP_KEY: APP.appKey,
        DINGTALK_APP_SECRET: APP.appSecret,
        DINGTALK_API_BASE: dingtalk.url,
        DINGTALK_OAPI_BASE: dingtalk.url,
        BRIDGE_PORT: "0",
        BRIDGE_DATA_DIR: dataDir,
        BRIDGE_DISK_MIN_FREE_MB: "0",
      },
      stdio: ["ignore", output, output],
    });
    cleanups.push(() => child.kill("SIGKILL"));
    return { child, ended: once(child, "exit") };
  };
  return { dingtalk, start, connected: () => dingtalk.waitFor("connected", () => true, 15_000) };
}

it.skipIf(!existsSync("/dev/full"))("a log that nobody can write stops nothing", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bridge-disk-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const full = openSync("/dev/full", "w");
  cleanups.push(() => closeSync(full));
  const { dingtalk, start, connected } = await daemon(directory, full);
  const ready = connected();
  const { child, ended } = start();
  await ready;
  await (await dingtalk.say({ text: "hi" })).acked();
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});

it("a start on a full disk fails with a status that a supervisor tries again, and works when there is room", async (test) => {
  const disk = smallDisk();
  if (disk === undefined) return test.skip("this user may not mount a file system");
  const { start, connected } = await daemon(disk, "ignore");
  const free = fill(disk);
  expect(await start().ended).toEqual([1, null]);
  free();
  const ready = connected();
  const { child, ended } = start();
  await ready;
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});
