import { dayStart } from "../domain/day.ts";
import type { Clock } from "../ops/clock.ts";
import type { QueueStore } from "../queue/store.ts";

export interface PersonLimitOptions {
  store: QueueStore;
  /** Messages per person and day; 0 = no limit. Like `exempt` it is read for each message, and may change. */
  readonly perDay: number;
  /** staffIds, or senderIds of people without one. */
  readonly exempt: readonly string[];
  clock: Clock;
}

/** `limits.perPersonPerDay`: counts in memory, from the store once per person and day. */
export class PersonLimit {
  readonly #options: PersonLimitOptions;
  #day = 0;
  #counts = new Map<string, number>();

  constructor(options: PersonLimitOptions) {
    this.#options = options;
  }

  /** Counts one more message of this person, unless it would be one too many for today, or was counted before. */
  take(account: string, sender: string, isKnown: () => boolean): "counted" | "uncounted" | "over" {
    const { perDay, exempt } = this.#options;
    if (perDay === 0 || exempt.includes(sender) || isKnown()) return "uncounted";
    const count = this.#count(account, sender);
    if (count >= perDay) return "over";
    this.#counts.set(`${account}\n${sender}`, count + 1);
    return "counted";
  }

  /** What was counted was not new, or could not be stored. */
  giveBack(account: string, sender: string): void {
    const key = `${account}\n${sender}`;
    const count = this.#counts.get(key);
    if (count !== undefined) this.#counts.set(key, Math.max(0, count - 1));
  }

  #count(account: string, sender: string): number {
    const today = dayStart(this.#options.clock.now());
    if (today !== this.#day) {
      this.#day = today;
      this.#counts = new Map();
    }
    const key = `${account}\n${sender}`;
    const count = this.#counts.get(key) ?? this.#options.store.countOfSender(account, sender, today);
    this.#counts.set(key, count);
    return count;
  }
}
