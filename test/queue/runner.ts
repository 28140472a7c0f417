import { onTestFinished } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import { createLogger } from "../../src/ops/logger.ts";
import { LaneRunner, type LaneRunnerOptions } from "../../src/queue/lane-runner.ts";
import type { RetryPolicy } from "../../src/queue/settlement.ts";
import type { Entry, QueueStore, Settlement } from "../../src/queue/store.ts";
import { metrics } from "./helpers.ts";

export const silent = createLogger({ level: "silent", version: "0.0.0" });
export const delivered: Outcome = { kind: "delivered" };
export const away: Outcome = { kind: "retry", class: "peer-away", code: "gateway_unreachable" };
export const failedEntry: Outcome = { kind: "retry", class: "entry", code: "gateway_bad_answer" };

/** Tries again at once, for ever. */
export const eager: RetryPolicy = {
  maxAttempts: 1_000,
  entry: { baseMs: 0, capMs: 0 },
  peerAway: { baseMs: 0, capMs: 0 },
  maxAgeMs: 1e15,
  onUncertain: "retry",
};

export const never: AbortSignal = new AbortController().signal;

/** An attempt under way, ended by the test. */
export interface Attempt {
  entry: Entry;
  signal: AbortSignal;
  end: (outcome: Outcome) => void;
  fail: (error: Error) => void;
}

export interface Run {
  runner: LaneRunner;
  /** Every attempt ever begun, in order. */
  attempts: Attempt[];
  /** Names of the entries of all attempts, in order. */
  names: () => string[];
  settled: { name: string; settlement: Settlement }[];
}

export const nameOf = (entry: Entry): string => entry.id.slice("main:".length);

/** A runner whose attempts wait for the test, unless `work` is given; stopped when the test ends. */
export function run(store: QueueStore, options: Partial<LaneRunnerOptions> = {}): Run {
  const attempts: Attempt[] = [];
  const settled: Run["settled"] = [];
  const runner = new LaneRunner({
    queue: "inbox",
    store,
    concurrency: 8,
    retry: eager,
    clock: { now: () => Date.now(), monotonic: () => performance.now() },
    logger: silent,
    metrics,
    work: (entry, signal) =>
      new Promise((end, fail) => {
        attempts.push({ entry, signal, end, fail });
      }),
    onSettled: (entry, settlement) => settled.push({ name: nameOf(entry), settlement }),
    ...options,
  });
  onTestFinished(async () => {
    const stopped = runner.stop({ signal: AbortSignal.abort(new Error("the test is over")) });
    for (const { fail } of attempts) fail(new Error("the test is over"));
    await stopped;
  });
  return { runner, attempts, settled, names: () => attempts.map(({ entry }) => nameOf(entry)) };
}
