import type { Backoff } from "../domain/backoff.ts";
import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Entry, Settlement } from "./store.ts";

export interface RetryPolicy {
  /** Attempts that count before an entry becomes a dead letter. */
  maxAttempts: number;
  /** Delay after an attempt that counts. */
  entry: Backoff;
  /** Delay while the peer is away. */
  peerAway: Backoff;
  /** An entry older than this after a failed attempt becomes a dead letter `too_old`. Milliseconds. */
  maxAgeMs: number;
  /** Of entries that have another limit. */
  maxAgeOf?: (entry: Entry) => number | undefined;
  /** What an attempt without an answer means: try again (a duplicate is possible), or a dead letter to look at. */
  onUncertain: "retry" | "hold";
}

/** Attempts that end in a fault of our own, and crashes during an attempt, before an entry becomes a dead letter. */
const OWN_FAULTS = 5;

/** Our own exception, and an answer that says no in words nobody has documented: trying long does not help. */
const FEW_ATTEMPTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["internal", "dingtalk_rejected"]);

/** Nothing was tried, so the entry does not die of its age: an account that is not configured, a pause, a stop. */
const NOT_TRIED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "account_paused",
  "pacing",
  "interrupted",
  "media_pending",
]);

/** Entries that saw this many crashes are run one at a time, so that bystanders are not blamed for the next one. */
export const SUSPECT_AFTER_CRASHES = 2;

/** What is settled without another attempt: an entry that was under way at every one of several crashes. */
export function crashLoop(entry: Entry, now: number): Settlement | undefined {
  if (entry.crashes < OWN_FAULTS) return undefined;
  const detail = `the process died ${entry.crashes} times during an attempt`;
  return { state: "dead", at: now, error: { code: "crash_loop", detail } };
}

/** True when the attempt says something about the peer and nothing about the entry. */
export function peerWasAway(outcome: Outcome): boolean {
  return outcome.kind === "uncertain" || (outcome.kind === "retry" && outcome.class === "peer-away");
}

/**
 * What the store keeps of an outcome (design §4). Peer-away and held attempts are never counted and end by age only,
 * after an attempt made past the limit; attempts at the entry itself are counted.
 */
export function settlementOf(
  entry: Entry,
  outcome: Outcome,
  context: { retry: RetryPolicy; now: number; delayMs: number },
): Settlement {
  const { retry, now, delayMs } = context;
  const later = (options: { counted: boolean; uncertain?: boolean; afterMs?: number | undefined }): Settlement => {
    const error = "code" in outcome ? { code: outcome.code, detail: outcome.detail ?? "" } : undefined;
    const uncertain = options.uncertain ? { uncertain: true } : {};
    if (now - entry.createdAt > (retry.maxAgeOf?.(entry) ?? retry.maxAgeMs) && !(error && NOT_TRIED.has(error.code))) {
      const last = error ? `; last: ${error.code} ${error.detail}` : "";
      return {
        state: "dead",
        at: now,
        error: { code: "too_old", detail: `older than its limit${last}` },
        ...uncertain,
      };
    }
    const limit = error && FEW_ATTEMPTS.has(error.code) ? Math.min(OWN_FAULTS, retry.maxAttempts) : retry.maxAttempts;
    if (options.counted && entry.attempts + 1 >= limit) {
      const last = error ? `${error.code} ${error.detail}` : "";
      return {
        state: "dead",
        at: now,
        error: { code: "attempts_exhausted", detail: `${entry.attempts + 1} attempts; last: ${last}` },
        ...uncertain,
      };
    }
    const dueAt = now + Math.max(0, Math.ceil(options.afterMs ?? delayMs));
    return { state: "open", dueAt, counted: options.counted, error, ...uncertain };
  };

  switch (outcome.kind) {
    case "delivered":
      return { state: "delivered", at: now, receipt: outcome.receipt };
    case "rejected":
      return { state: "dead", at: now, error: { code: outcome.code, detail: outcome.detail } };
    case "held":
      return later({ counted: false, afterMs: outcome.afterMs });
    case "retry":
      return later({ counted: outcome.class === "entry", afterMs: outcome.afterMs });
    case "uncertain":
      if (retry.onUncertain === "retry") return later({ counted: outcome.counted ?? false, uncertain: true });
      return {
        state: "dead",
        at: now,
        error: { code: outcome.code, detail: `sent without an answer; ${outcome.detail ?? ""}` },
        uncertain: true,
      };
  }
}
