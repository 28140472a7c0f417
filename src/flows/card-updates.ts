import { randomUUID } from "node:crypto";
import type { StreamRow } from "../queue/stream-store.ts";
import { type CardContext, updateKey } from "./card-context.ts";
import { REFUSALS } from "./card-creation.ts";
import { nextUpdate, updatesBy } from "./card-schedule.ts";

/** Updates in a row that fail before the conversation's cards are left alone for a while. */
const FAILURES = 3;

/** The updates of one card that is shown: when the next is due, and what became of it. */
export class CardUpdates {
  readonly #row: StreamRow;
  readonly #context: CardContext;
  readonly #always: boolean;
  #shownAt = 0;
  #state = { sent: 0, lastMs: 0 };
  /** What the card shows, before it is rendered; undefined while that is not known. */
  #text: string | undefined;
  #isRefused = false;
  #calls = 0;

  /** `always`: as often as the month's budget would allow. */
  constructor(row: StreamRow, context: CardContext, always: boolean) {
    this.#row = row;
    this.#context = context;
    this.#always = always;
  }

  /** Requests so far, those that failed included. */
  get calls(): number {
    return this.#calls;
  }

  /**
   * The card has appeared, or did so in an earlier life, `ageMs` ago. The first update follows whether there is news or not: with it
   * the client begins to show the text.
   */
  shown(ageMs = 0): void {
    this.#shownAt = this.#context.options.clock.monotonic() - ageMs;
    this.#state = updatesBy(this.#context.schedule(this.#row, this.#always), ageMs);
  }

  /** Milliseconds until `text` may be shown; undefined: never, or not before something has changed. */
  waitFor(text: string): number | undefined {
    const { breaker, options } = this.#context;
    if (this.#isRefused || text === this.#text) return undefined;
    if (!breaker.admits(updateKey(this.#context.laneOf(this.#row)))) return undefined;
    const at = nextUpdate(this.#context.schedule(this.#row, this.#always), this.#state);
    return at === undefined ? undefined : Math.max(0, this.#shownAt + at - options.clock.monotonic());
  }

  /**
   * One update with what `newest` gives when its turn comes; undefined: it is not needed any more. `text` is what `waitFor` will be
   * asked with. `signal` calls it off while it waits for its turn. Resolves false when the card is gone.
   */
  async run(newest: () => { text: string; content: string } | undefined, signal: AbortSignal): Promise<boolean> {
    const { breaker, options } = this.#context;
    const { account, id: streamId, outTrackId, templateKey } = this.#row;
    const lane = this.#context.laneOf(this.#row);
    const key = updateKey(lane);
    let said: string | undefined;
    breaker.begin(key);
    const { outcome, asked } = await options.calls
      .update({ account, lane, signal }, () => {
        const update = newest();
        said = update?.text;
        if (!update || update.content === "") return undefined;
        return { outTrackId, guid: randomUUID(), key: templateKey, content: update.content };
      })
      .finally(() => breaker.dropped(key));
    const isTurnedBack = !asked || ("code" in outcome && REFUSALS.has(outcome.code));
    const result = asked ? ("code" in outcome ? outcome.code : outcome.kind) : "not_sent";
    options.metrics.cardUpdates.inc({ account, result });
    if (asked) this.#calls += 1;
    // Of those that DingTalk worked on there may be so many; the others wait for the next in its time.
    const sent = this.#state.sent + (isTurnedBack ? 0 : 1);
    this.#state = { sent, lastMs: options.clock.monotonic() - this.#shownAt };
    if (outcome.kind === "delivered") {
      this.#text = said;
      breaker.worked(key);
      return true;
    }
    if (isTurnedBack || !("code" in outcome)) return true;
    options.logger.debug(
      { account, streamId, code: outcome.code, detail: outcome.detail },
      "an update of a card failed",
    );
    breaker.failed(key, FAILURES);
    // Refused once, refused again: the last update decides what becomes of the text.
    this.#isRefused = outcome.kind === "rejected";
    return !(outcome.kind === "rejected" && outcome.code === "card_unknown");
  }
}
