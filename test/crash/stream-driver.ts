import { setTimeout as delay } from "node:timers/promises";
import { sharedNow } from "../support/daemon-proc.ts";
import { type Random, between, hashOf, seeded } from "./random.ts";
import { StreamCaller } from "./stream-caller.ts";
import type { FinishBody, StreamEntry } from "./stream-entries.ts";
import { type StreamPlan, planOf, revised } from "./stream-script.ts";

export interface Driving {
  url: string;
  token: string;
  seed: number;
  /** Makes the keys of this life unique. */
  life: number;
  conversations: number;
  /** Streams open at a time: any number up to it, changing. */
  most: number;
  idleTimeoutMs: number;
}

/** A stream that an earlier life of the gateway did not bring to an end. */
export interface Leftover {
  id: string;
  key: string;
  to: string;
  text: string;
  /** As it was being sent. */
  body: FinishBody | undefined;
}

const AGAIN_MS = 200;
/** The longest time after which somebody comes back to a stream that was left: longer than its idle timeout. */
const LATE_MS = 8_000;
const NOTE_EVERY_MS = 300;

/** Of a conversation, by its number; every second one is a group. */
export const targetOf = (lane: number): string =>
  lane % 2 === 0 ? `user:staff${String(1 + lane).padStart(3, "0")}` : `conversation:cidgroup${lane}==`;

/** The gateway's side of streams: opens, updates and ends them by plans of chance, and notes what it did before it goes on. */
export class StreamDriver {
  readonly #options: Driving;
  readonly #add: (entry: StreamEntry) => void;
  readonly #random: Random;
  readonly #caller: StreamCaller;
  readonly #running = new Set<Promise<void>>();
  #isOver = false;
  #count = 0;

  constructor(options: Driving, add: (entry: StreamEntry) => void) {
    this.#options = options;
    this.#add = add;
    this.#random = seeded(hashOf(`${options.seed} ${options.life}`));
    this.#caller = new StreamCaller(options);
  }

  begin(leftovers: readonly Leftover[]): void {
    for (const one of leftovers) this.#own(this.#takeUp(one));
    this.#own(this.#drive());
    this.#own(this.#talk());
  }

  /** Opens nothing more; resolves when all that is open has come to its planned end. */
  async end(): Promise<void> {
    this.#isOver = true;
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #own(work: Promise<void>): void {
    const one: Promise<void> = work.finally(() => this.#running.delete(one));
    this.#running.add(one);
  }

  async #drive(): Promise<void> {
    const { most, life, conversations } = this.#options;
    let open = 0;
    while (!this.#isOver) {
      const wanted = between(this.#random, 1, most);
      const until = sharedNow() + between(this.#random, 500, 3_000);
      for (; sharedNow() < until && !this.#isOver; await delay(20)) {
        if (open >= wanted) continue;
        this.#count += 1;
        open += 1;
        const plan = planOf(this.#random, `s${life}-${this.#count}`, conversations);
        this.#own(this.#play(plan).finally(() => (open -= 1)));
      }
    }
  }

  /** Ordinary messages, in the same conversations. */
  async #talk(): Promise<void> {
    const { life, conversations } = this.#options;
    for (let n = 0; !this.#isOver; n += 1) {
      const lane = between(this.#random, 0, conversations - 1);
      const key = `n${life}-${n}`;
      this.#add({ e: "note.posting", at: sharedNow(), key, conversation: targetOf(lane) });
      const content = { type: "text", text: `⟪${key}/0⟫` };
      const body = { account: "main", to: targetOf(lane), content };
      for (;;) {
        const { status } = await this.#caller.call("POST", "/v1/messages", body, key);
        if (status === 202) break;
        await delay(AGAIN_MS);
      }
      this.#add({ e: "note.accepted", at: sharedNow(), key });
      await delay(this.#random() * 2 * NOTE_EVERY_MS);
    }
  }

  async #play(plan: StreamPlan): Promise<void> {
    const id = await this.#open(plan);
    await this.#grow(plan, id);
    if (plan.ending === "never") return this.#add({ e: "stream.left", key: plan.key });
    if (plan.ending === "late") await delay(this.#random() * LATE_MS);
    await this.#finish(plan.key, id, bodyOf(plan));
  }

  /** Again and again: an answer that was lost leaves a stream without a text. */
  async #open({ key, lane, text, lengths, format }: StreamPlan): Promise<string> {
    const to = targetOf(lane);
    const { idleTimeoutMs } = this.#options;
    for (;;) {
      const { status, body } = await this.#caller.call("POST", "/v1/streams", {
        account: "main",
        to,
        idleTimeoutMs,
        format,
      });
      if (status === 201) {
        const id = String(body["id"]);
        this.#add({ e: "stream.opened", at: sharedNow(), id, key, conversation: to, text, lengths });
        return id;
      }
      await delay(AGAIN_MS);
    }
  }

  /** Each delta once: what the bridge does not take comes with the next one. */
  async #grow({ key, text, lengths, everyMs, ending }: StreamPlan, id: string): Promise<void> {
    const stopAt =
      ending === "never" || ending.startsWith("empty") ? between(this.#random, 0, lengths.length) : lengths.length;
    for (const [seq, length] of lengths.slice(0, stopAt).entries()) {
      const from = sharedNow();
      const { status } = await this.#caller.call("PUT", `/v1/streams/${id}`, { seq, text: text.slice(0, length) });
      this.#add({ e: "stream.put", key, from, at: sharedNow(), length, status });
      await delay(everyMs * (0.5 + this.#random()));
    }
  }

  /** The same body until the bridge has it, or refuses it. */
  async #finish(key: string, id: string, body: FinishBody): Promise<void> {
    this.#add({ e: "stream.finishing", at: sharedNow(), key, body });
    for (;;) {
      const { status, body: said } = await this.#caller.call("POST", `/v1/streams/${id}/finish`, body);
      if (status !== 0 && status < 500) {
        this.#add({ e: "stream.finished", at: sharedNow(), key, status, detail: JSON.stringify(said) });
        return;
      }
      await delay(AGAIN_MS);
    }
  }

  /** What a gateway that was started again does: repeats what it was saying, says what it finds it has, or forgets it. */
  async #takeUp({ id, key, to, text, body }: Leftover): Promise<void> {
    if (this.#random() < 0.4) return this.#add({ e: "stream.left", key });
    await delay(this.#random() * LATE_MS);
    await this.#finish(key, id, body ?? { text, outcome: "done", account: "main", to });
  }
}

function bodyOf({ key, lane, text, ending }: StreamPlan): FinishBody {
  const isEmpty = ending === "empty" || ending === "emptyFailed";
  const last = ending === "revised" ? revised({ key, text }) : isEmpty ? "" : text;
  const outcome =
    ending === "failed" || ending === "emptyFailed" ? "failed" : ending === "aborted" ? "aborted" : "done";
  // Where a stream was to go the bridge knows, too, as long as it knows the stream.
  const to = lane % 4 === 3 ? {} : { to: targetOf(lane) };
  return { text: last, outcome, account: "main", ...to };
}

/** What a journal says of streams that nobody has ended or left. */
export function leftoversIn(entries: readonly StreamEntry[]): Leftover[] {
  const open = new Map<string, Leftover>();
  for (const entry of entries) {
    if (entry.e === "stream.opened") {
      const { id, key, conversation: to, text } = entry;
      open.set(key, { id, key, to, text, body: undefined });
    }
    if (entry.e === "stream.finishing") {
      const known = open.get(entry.key);
      if (known) known.body = entry.body;
    }
    if (entry.e === "stream.finished" || entry.e === "stream.left") open.delete(entry.key);
  }
  return [...open.values()];
}
