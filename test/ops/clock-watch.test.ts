import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ClockWatch } from "../../src/ops/clock-watch.ts";
import { createLogger } from "../../src/ops/logger.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { LogCapture } from "../support/bridge.ts";

const HOUR = 3_600_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
});
afterEach(() => {
  const left = vi.getTimerCount();
  vi.useRealTimers();
  expect(left).toBe(0);
});

function watched(onStep: () => Promise<void> = () => Promise.resolve()) {
  const time = { wall: 1_000_000, monotonic: 0 };
  const logs = new LogCapture();
  const steps: number[] = [];
  const watch = new ClockWatch({
    clock: { now: () => time.wall, monotonic: () => time.monotonic },
    logger: createLogger({ level: "info", version: "0", destination: logs }),
    metrics: createMetrics(),
    onStep: () => {
      steps.push(time.wall);
      return onStep();
    },
  });
  /** A second goes by, in which the clock is set by `ms`. */
  const second = async (ms = 0): Promise<void> => {
    time.wall += 1_000 + ms;
    time.monotonic += 1_000;
    await vi.advanceTimersByTimeAsync(1_000);
  };
  return { watch, second, steps, logs };
}

it.each([HOUR, -HOUR, 6_000, -6_000])("tells once of a step of %i ms, and says so", async (ms) => {
  const { watch, second, steps, logs } = watched();
  await watch.start();
  await second();
  await second(ms);
  await second();
  expect(steps).toHaveLength(1);
  expect(logs.lines).toMatchObject([{ level: 40, stepMs: ms }]);
  await watch.stop();
});

it("leaves small corrections alone, until they have become a large one", async () => {
  const { watch, second, steps } = watched();
  await watch.start();
  for (let n = 0; n < 50; n += 1) await second(100);
  expect(steps).toHaveLength(0);
  await second(100);
  expect(steps).toHaveLength(1);
  await watch.stop();
});

it("does not take the time between a stop and a start for a step, and survives a listener that fails", async () => {
  const { watch, second, steps, logs } = watched(() => Promise.reject(new Error("no")));
  await Promise.all([watch.start(), watch.start()]);
  await watch.stop();
  await second(HOUR);
  await watch.start();
  await second();
  expect(steps).toHaveLength(0);
  await second(HOUR);
  await second(HOUR);
  await Promise.all([watch.stop(), watch.stop()]);
  expect(steps).toHaveLength(2);
  expect(logs.lines.filter(({ level }) => level === 50)).toHaveLength(2);
});
