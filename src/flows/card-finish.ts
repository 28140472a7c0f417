import { cardSummary } from "../domain/card-text.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Clock } from "../ops/clock.ts";
import type { CardState } from "../queue/stream-store.ts";
import type { Entry, QueueStore } from "../queue/store.ts";
import type { CardCalls, CardResult } from "./card-calls.ts";
import { contentOf } from "./card-content.ts";
import { cardTarget } from "./card-target.ts";
import { later } from "./outbound-roads.ts";
import type { BelowCard } from "./below-card.ts";
import { type CardFinish, cardFinishOf } from "./stream-entries.ts";

export interface CardFinisherOptions {
  store: QueueStore;
  calls: CardCalls;
  /** Resolves when this process does nothing else with the card; then what it knows of it, if anything. */
  atRest: (outTrackId: string) => Promise<CardState | "doubtful" | undefined>;
  label: (account: string) => string | undefined;
  /** What a card says whose text goes out as a message. */
  seeNext: string;
  /** Where the text goes that the card cannot show. */
  below: Pick<BelowCard, "isSaid" | "say">;
  clock: Clock;
  timings?: Partial<FinishTimings> | undefined;
}

export interface FinishTimings {
  /** How long somebody waits for the end of a text because cards do not work just now. Milliseconds. */
  patienceMs: number;
  /** How long a creation without an answer may still take effect. Milliseconds. */
  lateCreationMs: number;
}

/** Failures of the last update that may be the card's own, before its text goes another way. */
const OWN_FAILURES = 4;
/** Patience: nothing that people like to wait, and long enough for an endpoint to come back. */
export const FINISH_TIMINGS: FinishTimings = { patienceMs: 2 * 60_000, lateCreationMs: 60_000 };
const STATES = { done: "3", aborted: "3", failed: "5" } as const;

/**
 * Brings a card to its end, whatever it takes: by its last update; where that cannot be, by its variables; where that cannot show the
 * text, the text goes out as a message and the card ends without it. All of it may be tried again and again.
 */
export class CardFinisher {
  readonly #options: CardFinisherOptions;
  readonly #timings: FinishTimings;

  constructor(options: CardFinisherOptions) {
    this.#options = options;
    this.#timings = { ...FINISH_TIMINGS, ...options.timings };
  }

  async deliver(entry: Entry, signal: AbortSignal): Promise<Outcome> {
    const finish = cardFinishOf(entry);
    const known = await this.#options.atRest(finish.outTrackId);
    if (signal.aborted) return later("interrupted", "stopped before the card was finished", 0);
    if (finish.abandoned) return this.#end(entry, finish, finish.text);
    if (known === "none" || known === "failed") {
      await this.#options.below.say(entry, "there is no card");
      return { kind: "delivered" };
    }
    // In an attempt before this one.
    if (this.#options.below.isSaid(entry)) return this.#end(entry, finish);
    if (finish.creating && known !== "shown") {
      const failure = await this.#create(entry, finish);
      if (failure) return failure;
    }
    return this.#finish(entry, finish);
  }

  /** Undefined once the card is there. */
  async #create(entry: Entry, finish: CardFinish): Promise<Outcome | undefined> {
    const { outTrackId, templateId, key, text } = finish;
    const to = cardTarget(this.#options.store, entry.account, finish.to);
    const card = to && {
      outTrackId,
      templateId,
      params: { [key]: contentOf(text) },
      to,
      summary: cardSummary(text, this.#options.label(entry.account)),
    };
    const { outcome } = await this.#options.calls.create(entry, () => card);
    if (outcome.kind === "delivered") return undefined;
    if (!to || outcome.kind === "rejected") {
      await this.#options.below.say(entry, "code" in outcome ? outcome.code : "no_route");
      return { kind: "delivered" };
    }
    if (outcome.kind === "retry" && outcome.class === "entry") {
      await this.#options.below.say(entry, outcome.code);
      return this.#end(entry, finish);
    }
    return this.#later(entry, outcome);
  }

  async #finish(entry: Entry, finish: CardFinish): Promise<Outcome> {
    const { outTrackId, key, guid, text } = finish;
    const content = contentOf(text);
    const { outcome } = await this.#last(entry, finish, { guid, content });
    if (outcome.kind === "delivered") return outcome;
    if (outcome.kind === "rejected") {
      if (outcome.code === "dingtalk_permission_missing") {
        const params = { [key]: content, flowStatus: STATES[finish.outcome] };
        const closed = await this.#options.calls.close(entry, { outTrackId, params });
        if (closed.outcome.kind === "delivered") return closed.outcome;
      }
      await this.#options.below.say(entry, outcome.code);
      return outcome.code === "card_unknown" ? { kind: "delivered" } : this.#end(entry, finish);
    }
    if (outcome.kind === "retry" && outcome.class === "entry" && entry.attempts >= OWN_FAILURES) {
      await this.#options.below.say(entry, outcome.code);
      return this.#end(entry, finish);
    }
    return this.#later(entry, outcome);
  }

  /** Ends the card without its text. */
  async #end(entry: Entry, finish: CardFinish, text = this.#options.seeNext): Promise<Outcome> {
    const { outTrackId, guid } = finish;
    const { outcome } = await this.#last(entry, finish, { guid: otherGuid(guid), content: contentOf(text) });
    if (outcome.kind === "delivered") return outcome;
    if (isUnknown(outcome)) return this.#gone(entry, finish);
    if (outcome.kind === "retry" && outcome.class === "peer-away") return outcome;
    const params = { flowStatus: STATES[finish.outcome] };
    const { outcome: closed } = await this.#options.calls.close(entry, { outTrackId, params });
    if (isUnknown(closed)) return this.#gone(entry, finish);
    // It is for DingTalk to come round, or for its age to end it: the card is all that is left to do.
    return closed.kind === "retry" ? { ...closed, class: "peer-away" } : closed;
  }

  /** A creation that got no answer may make the card yet. */
  #gone({ createdAt }: Entry, { abandoned }: CardFinish): Outcome {
    const age = this.#options.clock.now() - createdAt;
    const { lateCreationMs } = this.#timings;
    if (!abandoned || age >= lateCreationMs) return { kind: "delivered" };
    return later("card_unknown", "there is no such card; it is looked for once more", lateCreationMs);
  }

  #last(entry: Entry, finish: CardFinish, update: { guid: string; content: string }): Promise<CardResult> {
    const { outTrackId, key, outcome } = finish;
    // As DingTalk's own SDK: one or the other.
    const isError = outcome === "failed";
    return this.#options.calls.finish(entry, { ...update, outTrackId, key, isFinalize: !isError, isError });
  }

  /** Cards do not work just now: somebody waits for this text, and messages may work. */
  async #later(entry: Entry, outcome: Outcome): Promise<Outcome> {
    const isOver = "code" in outcome && outcome.code === "dingtalk_quota_exhausted";
    if (isOver || this.#options.clock.now() - entry.createdAt > this.#timings.patienceMs) {
      await this.#options.below.say(entry, "code" in outcome ? outcome.code : "internal");
    }
    return outcome;
  }
}

const isUnknown = (outcome: Outcome): boolean => outcome.kind === "rejected" && outcome.code === "card_unknown";

/** One guid belongs to one content. */
function otherGuid(guid: string): string {
  const last = Number.parseInt(guid.slice(-1), 16);
  return `${guid.slice(0, -1)}${((Number.isNaN(last) ? 0 : last) ^ 1).toString(16)}`;
}
