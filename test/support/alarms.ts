import type { Alarm } from "../../src/flows/indicator.ts";

/** Alarms that ring when the test says so. */
export class Alarms {
  #pending: { ms: number; ring: () => void }[] = [];

  readonly alarm: Alarm = (ms, ring) => {
    const one = { ms, ring };
    this.#pending.push(one);
    return () => {
      this.#pending = this.#pending.filter((other) => other !== one);
    };
  };

  /** Milliseconds of those that are set, in the order of their setting. */
  get set(): number[] {
    return this.#pending.map(({ ms }) => ms);
  }

  /** Rings all that were set for so long; how many that were. */
  ring(ms: number): number {
    const due = this.#pending.filter((one) => one.ms === ms);
    this.#pending = this.#pending.filter((one) => one.ms !== ms);
    for (const { ring } of due) ring();
    return due.length;
  }
}
