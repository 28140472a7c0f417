import { EventEmitter } from "node:events";
import type { SimulatedCard, SimulatedReaction } from "./dingtalk-card-types.ts";
import type { ConnectionInfo, EventMap, EventName } from "./dingtalk-types.ts";

/** A list that forgets its oldest entries. Trimmed a tenth at a time: one shift per entry would be quadratic. */
export class CappedList<T> {
  readonly items: T[] = [];
  readonly #cap: () => number;

  constructor(cap: () => number) {
    this.#cap = cap;
  }

  add(item: T): void {
    this.items.push(item);
    const cap = this.#cap();
    if (this.items.length > cap + Math.ceil(cap / 10)) this.items.splice(0, this.items.length - cap);
  }

  clear(): void {
    this.items.length = 0;
  }
}

/** A map that forgets its oldest entries. */
export class CappedMap<K, V> extends Map<K, V> {
  readonly #cap: () => number;

  constructor(cap: () => number) {
    super();
    this.#cap = cap;
  }

  override set(key: K, value: V): this {
    super.set(key, value);
    if (this.size > this.#cap()) {
      const oldest = this.keys().next();
      if (!oldest.done) this.delete(oldest.value);
    }
    return this;
  }
}

interface Waiter {
  reject(error: Error): void;
}

/** Everything that happened, kept and announced. */
export class Records {
  readonly events = new EventEmitter<{ [E in EventName]: [EventMap[E]] }>();
  readonly sent: CappedList<EventMap["sent"]>;
  readonly cards: CappedList<SimulatedCard>;
  readonly reactions: CappedList<SimulatedReaction>;
  readonly acks: CappedList<EventMap["ack"]>;
  readonly requests: CappedList<EventMap["request"]>;
  readonly pushes: CappedList<EventMap["pushed"]>;
  readonly problems: CappedList<string>;
  readonly connections: CappedList<ConnectionInfo>;
  readonly #waiters = new Set<Waiter>();
  #seq = 0;

  constructor(cap: () => number) {
    // One listener per waiting test; many are no leak.
    this.events.setMaxListeners(0);
    this.sent = new CappedList(cap);
    this.cards = new CappedList(cap);
    this.reactions = new CappedList(cap);
    this.acks = new CappedList(cap);
    this.requests = new CappedList(cap);
    this.pushes = new CappedList(cap);
    this.problems = new CappedList(cap);
    this.connections = new CappedList(cap);
  }

  /** A number that grows with every record of any kind. */
  nextSeq(): number {
    return ++this.#seq;
  }

  emit<E extends EventName>(event: E, record: EventMap[E]): void {
    const args = [record] as { [K in EventName]: [EventMap[K]] }[E];
    // The emitter's own typing cannot be followed through a generic event name.
    (this.events as unknown as EventEmitter).emit(event, ...args);
  }

  problem(text: string): void {
    this.problems.add(text);
    this.emit("problem", text);
  }

  /** The next record of that kind that satisfies the predicate. Rejects after `timeoutMs`, naming what it waited for. */
  waitFor<E extends EventName>(
    event: E,
    predicate: (record: EventMap[E]) => boolean = () => true,
    timeoutMs = 5_000,
  ): Promise<EventMap[E]> {
    const emitter = this.events as unknown as EventEmitter;
    return this.wait(`"${event}" that satisfies ${predicate.toString()}`, timeoutMs, (resolve) => {
      const listener = (record: EventMap[E]): void => {
        if (predicate(record)) resolve(record);
      };
      emitter.on(event, listener);
      return () => emitter.off(event, listener);
    });
  }

  /** Resolves when the subscription does; rejects after `timeoutMs` and when the simulator is closed. */
  wait<T>(what: string, timeoutMs: number, subscribe: (resolve: (value: T) => void) => () => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        unsubscribe();
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        reject: (error) => {
          end();
          reject(error);
        },
      };
      const timer = setTimeout(() => waiter.reject(new Error(`within ${timeoutMs} ms no ${what}`)), timeoutMs);
      this.#waiters.add(waiter);
      const unsubscribe = subscribe((value) => {
        end();
        resolve(value);
      });
    });
  }

  /** Like `waitFor`, but a record that is already there counts too. */
  until<E extends EventName>(
    event: E,
    predicate: (record: EventMap[E]) => boolean = () => true,
    timeoutMs = 5_000,
  ): Promise<EventMap[E]> {
    const past = this.#past(event).find((record) => predicate(record));
    return past === undefined ? this.waitFor(event, predicate, timeoutMs) : Promise.resolve(past);
  }

  #past<E extends EventName>(event: E): EventMap[E][] {
    const lists: { [K in EventName]: () => EventMap[K][] } = {
      sent: () => this.sent.items,
      card: () => this.cards.items,
      ack: () => this.acks.items,
      request: () => this.requests.items.filter((r) => r.status !== 0),
      pushed: () => this.pushes.items,
      redelivered: () => this.pushes.items.filter((p) => p.attempt > 1),
      connected: () => this.connections.items.filter((c) => c.live),
      closed: () => this.connections.items.filter((c) => !c.live),
      problem: () => this.problems.items,
    };
    return lists[event]();
  }

  clear(): void {
    for (const list of [this.sent, this.cards, this.reactions, this.acks, this.requests, this.pushes, this.problems])
      list.clear();
    const live = this.connections.items.filter((c) => c.live);
    this.connections.clear();
    for (const info of live) this.connections.add(info);
  }

  /** Ends every wait. */
  close(): void {
    for (const waiter of this.#waiters) waiter.reject(new Error("the simulator was closed"));
    this.events.removeAllListeners();
  }
}
