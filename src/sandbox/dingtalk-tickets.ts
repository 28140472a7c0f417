import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import { CappedMap } from "./dingtalk-records.ts";
import type { App } from "./dingtalk-world.ts";

export interface Ticket {
  app: App;
  subscriptions: { type: string; topic: string }[];
  ua: string | undefined;
  localIp: string | undefined;
}

/** Tickets of connections/open: one use each, 90 s (dingtalk-protocol.md §1.1). */
export class Tickets {
  readonly #knobs: SimulatorKnobs;
  readonly #tickets = new CappedMap<string, { ticket: Ticket; expiresAt: number }>(() => 10_000);

  readonly #newTicket: () => string;

  constructor(knobs: SimulatorKnobs, newTicket: () => string) {
    this.#knobs = knobs;
    this.#newTicket = newTicket;
  }

  issue(ticket: Ticket): string {
    const id = this.#newTicket();
    this.#tickets.set(id, { ticket, expiresAt: performance.now() + this.#knobs.ticketTtlMs });
    return id;
  }

  /** What the ticket stands for, once; undefined when unknown, used or expired. */
  use(id: string | null): Ticket | undefined {
    const known = id === null ? undefined : this.#tickets.get(id);
    if (id === null || !known) return undefined;
    this.#tickets.delete(id);
    return known.expiresAt > performance.now() ? known.ticket : undefined;
  }
}
