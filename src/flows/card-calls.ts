import type { NewCard } from "../dingtalk/cards.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { AccountSender } from "./account.ts";
import { callApi } from "./api-call.ts";
import type { CardProblem, CardProblems } from "./card-problems.ts";

export type StreamUpdate = Parameters<AccountSender["streamCard"]>[0];

/** Who calls, and for which lane. */
export interface CardCaller {
  account: string;
  lane: string;
  /** Calls it off while DingTalk is not asked yet. */
  signal?: AbortSignal;
  /** In the turn of the answer. */
  onAnswer?: () => void;
}

/** What came of a call; `asked`: DingTalk was called. */
export interface CardResult {
  outcome: Outcome;
  asked: boolean;
}

export interface CardCallsOptions {
  sender: (account: string) => AccountSender | undefined;
  problems: CardProblems;
  metrics: Metrics;
}

/** A card that goes on for ever is the worst, one that appears late the next worst. */
const PRIORITY = { finish: 2, create: 1, update: 0 } as const;
const NOT_NEEDED: Outcome = { kind: "retry", code: "pacing", class: "peer-away", detail: "not needed any more" };

/**
 * Card calls of all replies, within one limiter and behind one gate for each account. What is to be sent is asked for when its turn
 * comes, and may be nothing any more. A missing permission is `rejected`: it is an answer, and must not make the endpoint look
 * away.
 */
export class CardCalls {
  readonly #options: CardCallsOptions;

  constructor(options: CardCallsOptions) {
    this.#options = options;
  }

  create(caller: CardCaller, card: () => NewCard | undefined): Promise<CardResult> {
    const asking = { priority: PRIORITY.create, right: "create", card } as const;
    return this.#call(caller, asking, (sender, asked) => sender.createCard(asked));
  }

  update(caller: CardCaller, card: () => StreamUpdate | undefined): Promise<CardResult> {
    const asking = { priority: PRIORITY.update, right: "stream", card } as const;
    return this.#call(caller, asking, (sender, asked) => sender.streamCard(asked));
  }

  /** The last update. */
  finish(caller: CardCaller, update: StreamUpdate): Promise<CardResult> {
    const asking = { priority: PRIORITY.finish, right: "stream", card: () => update } as const;
    return this.#call(caller, asking, (sender, asked) => sender.streamCard(asked));
  }

  /** The end of a card by its variables, where it cannot be streamed to (dingtalk-protocol.md §4.4, §4.5). */
  close(caller: CardCaller, card: { outTrackId: string; params: Record<string, string> }): Promise<CardResult> {
    const asking = { priority: PRIORITY.finish, right: "create", card: () => card } as const;
    return this.#call(caller, asking, (sender, asked) => sender.updateCard(asked));
  }

  async #call<T>(
    { account, lane, signal, onAnswer }: CardCaller,
    asking: { priority: number; right: CardProblem; card: () => T | undefined },
    call: (sender: AccountSender, card: T) => Promise<Outcome>,
  ): Promise<CardResult> {
    const sender = this.#options.sender(account);
    if (!sender) {
      const detail = `account ${account} is not configured`;
      const outcome: Outcome = { kind: "retry", code: "account_paused", class: "peer-away", detail, afterMs: 60_000 };
      return { outcome, asked: false };
    }
    let asked = false;
    const { priority, right, card } = asking;
    const told = (): void => {
      if (asked) onAnswer?.();
    };
    const outcome = await callApi(
      sender,
      { account, lane, api: "card", priority, signal, sent: () => asked, onAnswer: told },
      this.#options.metrics,
      async () => {
        const what = card();
        if (what === undefined) return NOT_NEEDED;
        asked = true;
        return settled(await call(sender, what));
      },
    ).catch((thrown: unknown) => {
      if (signal?.aborted && !asked) return NOT_NEEDED;
      throw thrown;
    });
    if (asked) this.#learn(account, right, outcome);
    if (asked && priority === PRIORITY.create && outcome.kind === "delivered") {
      this.#options.problems.solved(account, "template");
    }
    return { outcome, asked };
  }

  #learn(account: string, right: CardProblem, outcome: Outcome): void {
    const { problems } = this.#options;
    if (outcome.kind === "delivered") problems.solved(account, right);
    if (outcome.kind !== "rejected") return;
    if (outcome.code === "dingtalk_permission_missing") problems.note(account, right, outcome.detail);
    if (outcome.code === "card_template_missing") problems.note(account, "template", outcome.detail);
  }
}

function settled(outcome: Outcome): Outcome {
  if (outcome.kind !== "retry" || outcome.code !== "dingtalk_permission_missing") return outcome;
  return { kind: "rejected", code: outcome.code, detail: outcome.detail ?? "" };
}
