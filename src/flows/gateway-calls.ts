import type { Clock } from "../ops/clock.ts";
import type { Scope } from "./messages.ts";

/** When gateways called the bridge last, as far as this process knows: what shows that their way here works. */
export class GatewayCalls {
  readonly #clock: Clock;
  readonly #at = new Map<string | undefined, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  note({ account }: Scope): void {
    this.#at.set(account, this.#clock.now());
  }

  /** Epoch milliseconds. A token that speaks for all accounts counts for each. */
  last({ account }: Scope): number | undefined {
    const times = account === undefined ? [...this.#at.values()] : [this.#at.get(account), this.#at.get(undefined)];
    const known = times.filter((at) => at !== undefined);
    return known.length === 0 ? undefined : Math.max(...known);
  }
}
