import { tmpdir } from "node:os";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BridgeError } from "../../src/domain/errors.ts";
import { DiskWatch, type DiskWatchOptions } from "../../src/ops/disk.ts";
import { createLogger } from "../../src/ops/logger.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { LogCapture } from "../support/bridge.ts";

const MB = 1024 * 1024;

const watches: DiskWatch[] = [];
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(async () => {
  for (const watch of watches.splice(0)) await watch.stop();
  const left = vi.getTimerCount();
  vi.useRealTimers();
  expect(left).toBe(0);
});

interface Disk {
  watch: DiskWatch;
  /** What is free from now on; the watch has looked when it resolves. */
  free: (mb: number | undefined | Error) => Promise<void>;
  refused: () => string[];
  lines: () => string[];
  store: { failure: BridgeError | undefined; broken: boolean; probes: number };
}

function disk(options: Partial<DiskWatchOptions> = {}): Disk {
  const state: { free: number | undefined | Error } = { free: 1_000 };
  const logs = new LogCapture();
  const store = { failure: undefined as BridgeError | undefined, broken: false, probes: 0 };
  const watch = new DiskWatch({
    directory: "data",
    minFreeMb: 200,
    store: {
      get failure() {
        return store.failure;
      },
      probe: () => {
        store.probes += 1;
        if (store.broken) return Promise.reject(new Error("still full"));
        store.failure = undefined;
        return Promise.resolve();
      },
    },
    logger: createLogger({ level: "info", version: "0", destination: logs }),
    metrics: createMetrics(),
    freeBytes: () => {
      const { free } = state;
      return free instanceof Error ? Promise.reject(free) : Promise.resolve(free === undefined ? free : free * MB);
    },
    ...options,
  });
  watches.push(watch);
  return {
    watch,
    store,
    free: async (mb) => {
      state.free = mb;
      await vi.advanceTimersByTimeAsync(1_000);
    },
    refused: () => (["media", "api", "acks"] as const).filter((work) => watch.refusal(work)),
    lines: () => logs.lines.map(({ level, msg }) => `${String(level)} ${String(msg)}`),
  };
}

describe("free space", () => {
  it("gives up media, then the API, then acks, and takes them back with a margin; one line for each step", async () => {
    const { watch, free, refused, lines } = disk();
    await watch.start();
    const steps: [number, string[], string][] = [
      [201, [], "ok"],
      [199, ["media"], "degraded"],
      [101, ["media"], "degraded"],
      [99, ["media", "api"], "degraded"],
      [49, ["media", "api", "acks"], "down"],
      [0, ["media", "api", "acks"], "down"],
      [54, ["media", "api", "acks"], "down"],
      [56, ["media", "api"], "degraded"],
      [109, ["media", "api"], "degraded"],
      [111, ["media"], "degraded"],
      [219, ["media"], "degraded"],
      [221, [], "ok"],
    ];
    for (const [mb, expected, status] of steps) {
      await free(mb);
      expect([mb, refused(), watch.health().status]).toEqual([mb, expected, status]);
    }
    expect(lines()).toEqual([
      ...Array<string>(3).fill("50 disk space runs out"),
      ...Array<string>(3).fill("40 there is disk space again"),
    ]);
  });

  it("refuses with the code, what is left and the mend", async () => {
    const { watch, free } = disk({ minFreeMb: 1_000 });
    await watch.start();
    await free(300);
    const mend = expect.stringContaining("1100 MB should be free (BRIDGE_DISK_MIN_FREE_MB)");
    expect(watch.refusal("api")).toMatchObject({ code: "disk_low", retryable: true, mend });
    expect(watch.refusal("api")?.message).toContain("300 MB");
    expect(watch.health()).toMatchObject({ status: "degraded", code: "disk_low", mend });
  });

  it("takes all steps at once on a disk that is full at the start", async () => {
    const { watch, free, refused } = disk({ freeBytes: () => Promise.resolve(0) });
    await watch.start();
    expect(refused()).toEqual(["media", "api", "acks"]);
    await free(0);
  });

  it("refuses nothing when it is switched off, or when nobody knows what is free", async () => {
    const off = disk({ minFreeMb: 0 });
    await off.watch.start();
    await off.free(0);
    expect(off.refused()).toEqual([]);
    const unknown = disk();
    await unknown.watch.start();
    await unknown.free(10);
    await unknown.free(undefined);
    expect(unknown.refused()).toEqual([]);
    await unknown.free(new Error("no such call"));
    await unknown.free(new Error("no such call"));
    expect(unknown.refused()).toEqual([]);
    expect(unknown.lines().filter((line) => line.includes("not known"))).toHaveLength(1);
  });

  it("asks the file system, and asks no more once stopped", async () => {
    const looked: string[] = [];
    const metrics = createMetrics();
    const watch = new DiskWatch({
      directory: tmpdir(),
      minFreeMb: 1,
      store: { failure: undefined, probe: () => Promise.resolve() },
      logger: createLogger({ level: "silent", version: "0" }),
      metrics,
    });
    watches.push(watch);
    const asked = disk({ freeBytes: (directory) => Promise.resolve(looked.push(directory) * 1_000 * MB) });
    await watch.start();
    expect((await metrics.diskFree.get()).values[0]?.value).toBeGreaterThan(MB);
    await Promise.all([asked.watch.start(), asked.watch.start()]);
    await asked.free(0);
    const before = looked.length;
    await Promise.all([asked.watch.stop(), asked.watch.stop()]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(looked).toHaveLength(before);
  });
});

describe("a store that takes no writes", () => {
  const failure = new BridgeError("store_unavailable", "database or disk is full", { mend: "check free space" });

  it("is down at once, probed until a write succeeds, and named once", async () => {
    const { watch, store, free, lines } = disk();
    await watch.start();
    Object.assign(store, { failure, broken: true });
    expect(watch.health()).toEqual({
      status: "down",
      code: "store_unavailable",
      detail: "database or disk is full",
      mend: "check free space",
    });
    await free(1_000);
    await free(1_000);
    expect(store.probes).toBe(2);
    store.broken = false;
    await free(1_000);
    expect(watch.health()).toEqual({ status: "ok" });
    expect(lines()).toEqual(["50 the store takes no writes", "40 the store takes writes again"]);
    await free(1_000);
    expect(store.probes).toBe(3);
  });

  it("is not called well while the disk has no room", async () => {
    const { watch, store, free } = disk({ minFreeMb: 0 });
    await watch.start();
    store.failure = failure;
    await free(0.5);
    expect([store.probes, watch.health().status]).toEqual([0, "down"]);
    await free(2);
    expect([store.probes, watch.health().status]).toEqual([1, "ok"]);
  });
});
