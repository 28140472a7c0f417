import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import { peerWasAway } from "./settlement.ts";

/** An answer all the same: the peer is there, and has a reason of its own. */
const ANSWERS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "account_unknown",
  "dingtalk_throttled",
  "dingtalk_ip_blocked",
  "recipient_throttled",
  "dingtalk_quota_exhausted",
]);
/** Never left this process, or was cut off by our own stop. */
const SILENCE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["interrupted", "pacing"]);
/** A 5xx may be the entry's fault, but many in a row are the peer's (design §4). */
const SERVER_FAULT: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["gateway_unavailable", "dingtalk_unavailable"]);
const TIMEOUT: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["gateway_timeout", "dingtalk_timeout"]);

/** What an outcome says about the peer. */
export function judge(outcome: Outcome): "there" | "away" | "nothing" {
  if (!("code" in outcome)) return "there";
  if (SILENCE.has(outcome.code)) return "nothing";
  if (outcome.kind === "retry" && SERVER_FAULT.has(outcome.code)) return "away";
  return peerWasAway(outcome) && !ANSWERS.has(outcome.code) ? "away" : "there";
}

/** It may be this one message that the peer stumbles over. */
function isDoubtful(outcome: Outcome): boolean {
  if (outcome.kind === "uncertain") return true;
  return outcome.kind === "retry" && (outcome.class === "entry" || TIMEOUT.has(outcome.code));
}

/**
 * Failures in a row. It is over, and the peer away, after `limit` of them, or one that says it all. Where every one of them
 * may be the fault of one lane's message, a second lane has to have failed: one poisoned message must not stop everybody.
 */
export class Streak {
  readonly #limit: number;
  #length = 0;
  #isCertain = false;
  #lane: string | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  isOver = false;

  add(outcome: Outcome, { lane, atOnce }: { lane: string | undefined; atOnce: boolean }): void {
    this.#length += 1;
    this.#isCertain ||= atOnce || lane === undefined || !isDoubtful(outcome);
    this.#isCertain ||= this.#lane !== undefined && this.#lane !== lane;
    this.#lane = lane;
    this.isOver ||= atOnce || (this.#isCertain && this.#length >= this.#limit);
  }

  clear(): void {
    this.#length = 0;
    this.#isCertain = false;
    this.#lane = undefined;
    this.isOver = false;
  }
}
