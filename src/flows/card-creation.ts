import { cardSummary } from "../domain/card-text.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { StreamRow } from "../queue/stream-store.ts";
import { contentOf, growingContent } from "./card-content.ts";
import { type CardContext, createKey } from "./card-context.ts";
import { cardTarget } from "./card-target.ts";

/** What came of an attempt to create a card. */
export type Created =
  | { kind: "shown" }
  /** Surely nothing was created; it may be tried again after so long. */
  | { kind: "refused"; waitMs: number }
  /** No answer: there may be a card. */
  | { kind: "unknown" }
  /** No card is to be had; `mayExist`: DingTalk failed and may have made one all the same. */
  | { kind: "failed"; mayExist: boolean };

/** DingTalk was not asked, or did nothing and said so. */
export const REFUSALS: ReadonlySet<string> = new Set([
  "dingtalk_throttled",
  "recipient_throttled",
  "dingtalk_quota_exhausted",
  "dingtalk_ip_blocked",
  "dingtalk_ip_not_allowed",
  "dingtalk_bad_credentials",
  "dingtalk_unreachable",
  "account_paused",
  "stopping",
  "pacing",
]);
const LEAST_WAIT_MS = 1_000;

/** Creates the card of one reply; messages of its conversation wait meanwhile. */
export class CardCreation {
  readonly #row: StreamRow;
  readonly #context: CardContext;
  #asking = false;
  #calls = 0;

  constructor(row: StreamRow, context: CardContext) {
    this.#row = row;
    this.#context = context;
  }

  /** Requests so far. */
  get calls(): number {
    return this.#calls;
  }

  /** DingTalk is being asked. */
  get asking(): boolean {
    return this.#asking;
  }

  /**
   * `begin` comes before the first request and may call it off, and so may `signal` until DingTalk is asked; `text` is what the card
   * says then: undefined when it is not needed.
   */
  async run(begin: () => Promise<boolean>, text: () => string | undefined, signal: AbortSignal): Promise<Created> {
    const { doors, breaker, options } = this.#context;
    const lane = this.#context.laneOf(this.#row);
    const key = createKey(lane);
    const pace = this.#context.paceOf(this.#row);
    const open = doors.shut(lane);
    breaker.begin(key);
    try {
      if (!(await begin())) return { kind: "refused", waitMs: 0 };
      const caller = { account: this.#row.account, lane, signal, onAnswer: () => pace.answered() };
      const { outcome, asked } = await options.calls.create(caller, () => this.#card(text()));
      if (asked) this.#calls += 1;
      return this.#judge(outcome, asked);
    } finally {
      this.#asking = false;
      breaker.dropped(key);
      open();
    }
  }

  #card(text: string | undefined) {
    const { account, to: target, outTrackId, templateId, templateKey } = this.#row;
    const to = cardTarget(this.#context.options.store, account, target);
    if (text === undefined || !to) return undefined;
    this.#asking = true;
    const content = growingContent(text, "") || contentOf(text);
    return {
      outTrackId,
      templateId,
      params: { [templateKey]: content },
      to,
      summary: cardSummary(text, this.#context.options.label(account)),
    };
  }

  #judge(outcome: Outcome, asked: boolean): Created {
    const { breaker, options } = this.#context;
    const { account, id: streamId } = this.#row;
    const key = createKey(this.#context.laneOf(this.#row));
    const pace = this.#context.paceOf(this.#row);
    if (outcome.kind === "delivered") {
      breaker.worked(key);
      pace.taken();
      return { kind: "shown" };
    }
    if (outcome.kind === "held") return { kind: "refused", waitMs: outcome.afterMs };
    if (outcome.kind === "retry" && (!asked || REFUSALS.has(outcome.code))) {
      const wait = outcome.code === "recipient_throttled" ? pace.throttled() : (outcome.afterMs ?? 0);
      return { kind: "refused", waitMs: Math.max(wait, LEAST_WAIT_MS) };
    }
    const fields = { account, streamId, code: outcome.code, detail: outcome.detail };
    if (outcome.kind === "retry" && outcome.class === "peer-away") {
      options.logger.warn(fields, "no answer to the creation of a card: it is asked for again");
      return { kind: "unknown" };
    }
    // What keeps all cards of the account away was said already, and is no fault of the conversation.
    const isAccounts = outcome.kind === "rejected" && !options.problems.admits(account);
    if (!isAccounts) {
      breaker.failed(key);
      options.logger.warn(fields, "no card: the answer is sent as a message when it is complete");
    }
    return { kind: "failed", mayExist: outcome.kind !== "rejected" };
  }
}
