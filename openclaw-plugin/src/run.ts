import type { Activity } from "./activity.ts";
import type { Delivered, Payload, Reply } from "./reply.ts";
import { Settling } from "./settling.ts";
import type { StreamOutcome } from "./stream.ts";

/** One message that waits for an answer. */
export interface Asker {
  reply: Reply;
  activity: Activity;
}

/** One answer of a run: whom it answers, and the model's message that it begins with, counted from 1. */
interface Answer {
  askers: [Asker, ...Asker[]];
  from: number;
}

/**
 * One run of an agent and the messages that it answers. OpenClaw gives words that come while it runs to the model ("steering"); the model
 * then says something for each of them, or one thing for several, and OpenClaw delivers all of it as answers to the first message. It
 * adopts such words exactly between two messages of the model, which tells whose answer comes next.
 */
export class Run {
  /** OpenClaw's id, as soon as it is known. */
  id: string | undefined;
  readonly settling: Settling;
  readonly #answers: [Answer, ...Answer[]];
  /** They are answered by the model's next message. */
  #next: Asker[] = [];
  #messages = 0;
  /** Whether the model's newest message asked for a tool: then it was no answer yet. */
  #usesTool = false;
  #isOver = false;

  constructor(
    asker: Asker,
    /** Of its session. */
    settling = new Settling(),
  ) {
    this.settling = settling;
    this.#answers = [{ askers: [asker], from: 0 }];
    asker.activity.working();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether it was begun for this message, and did not only take it in. */
  isFor(asker: Asker): boolean {
    return this.#answers[0].askers[0] === asker;
  }

  /** What grows just now, or grew last. */
  get reply(): Reply {
    return this.#current.askers[0].reply;
  }

  /** Another message went into this run. */
  join(asker: Asker): void {
    asker.activity.working();
    if (this.#messages > 0 && !this.#usesTool) return void this.#next.push(asker);
    const { askers } = this.#current;
    askers.push(asker);
    askers[0].reply.share();
  }

  /** It did not go into this run after all. */
  leave(asker: Asker): void {
    const isOther = (one: Asker): boolean => one !== asker;
    const [first, ...others] = this.#current.askers;
    this.#current.askers = [first, ...others.filter(isOther)];
    this.#next = this.#next.filter(isOther);
  }

  /** The model begins another message. */
  messageBegins(): void {
    this.#messages += 1;
    this.#usesTool = false;
    const [first, ...others] = this.#next.splice(0);
    if (first) {
      this.#answers.push({ askers: [first, ...others], from: this.#messages });
      if (others.length > 0) first.reply.share();
    }
    this.reply.beginMessage();
  }

  /** The model's message asks for a tool; `line` says in a few words what it does. */
  toolBegins(line: string | undefined): boolean {
    this.#usesTool = true;
    return line !== undefined && this.reply.progress(line);
  }

  /**
   * Sends one payload to whom it answers. Throws what the reply throws.
   * @param message which of the model's messages it is, counted from 1
   */
  async deliver(
    payload: Payload,
    { kind, message }: { kind: string; message?: number | undefined },
  ): Promise<Delivered> {
    const answer = this.#answers.findLast(({ from }) => message === undefined || from <= message) ?? this.#current;
    const [first, ...others] = answer.askers;
    const delivered = await first.reply.deliver(payload, kind);
    // Who wrote elsewhere, in a session that several conversations share, sees nothing of it there.
    const elsewhere = new Map(others.map(({ reply }) => [reply.to, reply]));
    elsewhere.delete(first.reply.to);
    for (const reply of elsewhere.values()) await reply.deliver(payload, kind);
    return delivered;
  }

  /** The reply whose text so far is this one, else the one that grows. For answers that come without the number of the message. */
  replyWith(text: string): Reply {
    const answer = this.#answers.findLast(({ askers }) => askers[0].reply.shows(text)) ?? this.#current;
    return answer.askers[0].reply;
  }

  /** The run is over: what grew is closed, and nobody is worked for any more. Never throws. */
  async end(outcome: StreamOutcome): Promise<void> {
    this.#isOver = true;
    const askers = [...this.#answers.flatMap((answer) => answer.askers), ...this.#next];
    await Promise.all(askers.map(({ reply }) => reply.end(outcome)));
    for (const { activity } of askers) activity.idle();
  }

  get #current(): Answer {
    return this.#answers.at(-1) ?? this.#answers[0];
  }
}
