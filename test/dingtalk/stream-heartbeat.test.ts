import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Heartbeat, type Verdict } from "../../src/dingtalk/stream-heartbeat.ts";
import { streamTimings } from "../../src/dingtalk/stream-timings.ts";

/** Everything at the real numbers, on the test runner's clock. */
let verdicts: Verdict[];
let pings: number;
let bytes: number;
let answering: boolean;
let heartbeat: Heartbeat;

beforeEach(() => {
  vi.useFakeTimers();
  verdicts = [];
  pings = 0;
  bytes = 100;
  answering = true;
  const heart = {
    ping: () => {
      pings += 1;
      if (answering) setTimeout(() => (bytes += 2), 20);
    },
    bytesRead: () => bytes,
  };
  const clock = { now: () => Date.now(), monotonic: () => Date.now() };
  heartbeat = new Heartbeat(heart, streamTimings(), clock, (verdict) => verdicts.push(verdict));
  heartbeat.start();
});

afterEach(() => {
  heartbeat.stop();
  // What may be left is the pong of the heart of this test.
  vi.advanceTimersByTime(20);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const SECOND = 1_000;
const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * SECOND);

/** `count` SYSTEM frames, `gap` seconds apart. */
async function system(count: number, gap: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    if (n > 0) await pass(gap);
    heartbeat.frame(true);
  }
}

describe("Heartbeat", () => {
  it("pings every 10 s and is content with pongs", async () => {
    await pass(3_600);
    expect(pings).toBe(360);
    expect(verdicts).toEqual([]);
  });

  it("finds a half-open connection within 30 s, however it falls between two pings", async () => {
    await pass(10.021);
    answering = false;
    const begin = Date.now();
    while (verdicts.length === 0 && Date.now() - begin < 60 * SECOND) await pass(0.1);
    expect(verdicts).toEqual(["dead"]);
    expect(Date.now() - begin).toBeLessThan(27 * SECOND);
    expect(pings).toBe(3);
  });

  it("forgives one miss", async () => {
    answering = false;
    await pass(16);
    answering = true;
    await pass(10);
    answering = false;
    await pass(10);
    answering = true;
    await pass(100);
    expect(verdicts).toEqual([]);
  });

  it("takes any byte as life", async () => {
    answering = false;
    const drip = setInterval(() => (bytes += 1), 3 * SECOND);
    await pass(300);
    clearInterval(drip);
    expect(verdicts).toEqual([]);
  });

  it("knows nothing of silence before three SYSTEM frames", async () => {
    await system(2, 20);
    await pass(3_000);
    expect(verdicts).toEqual([]);
  });

  it("finds silence after 90 s where the server speaks often", async () => {
    await system(5, 5);
    await pass(85);
    expect(verdicts).toEqual([]);
    await pass(20);
    expect(verdicts).toEqual(["silent"]);
  });

  it("waits three times the largest gap where the server speaks rarely", async () => {
    await system(2, 5);
    await system(2, 60);
    await pass(170);
    expect(verdicts).toEqual([]);
    await pass(20);
    expect(verdicts).toEqual(["silent"]);
  });

  it("is content while any frame comes", async () => {
    await system(5, 5);
    for (let n = 0; n < 20; n += 1) {
      await pass(60);
      heartbeat.frame(false);
    }
    expect(verdicts).toEqual([]);
  });

  it("says once that a connection is old", async () => {
    await pass(6 * 3_600 - 5);
    expect(verdicts).toEqual([]);
    await pass(3_600);
    expect(verdicts).toEqual(["old"]);
  });
});
