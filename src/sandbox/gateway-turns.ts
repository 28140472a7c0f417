import type { Envelope } from "../domain/envelope.ts";

interface Turn {
  envelope: Envelope;
  durationMs: number;
  state: "waiting" | "running" | "finished";
  /** Its sender was told that it started. */
  told: boolean;
}

/**
 * Messages of one conversation run one after another, as in OpenClaw's session queue, and wait for their turn in memory
 * only: what a crash forgets, nobody else knows but the bridge.
 */
export class Turns {
  readonly #onStart: (envelope: Envelope) => void;
  readonly #onEnd: (envelope: Envelope) => void;
  readonly #byId = new Map<string, Turn>();
  /** Per conversation, the running one first. */
  readonly #lanes = new Map<string, Turn[]>();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(listener: { onStart: (envelope: Envelope) => void; onEnd: (envelope: Envelope) => void }) {
    this.#onStart = listener.onStart;
    this.#onEnd = listener.onEnd;
  }

  /** Status for a POST: 202 while the message waits, 200 once it started, 409 for one whose 200 was given before. */
  take(envelope: Envelope, durationMs: number): 200 | 202 | 409 {
    const turn = this.#byId.get(envelope.id) ?? this.#enqueue(envelope, durationMs);
    if (turn.state === "waiting") return 202;
    if (turn.told) return 409;
    turn.told = true;
    return 200;
  }

  /** Messages that wait or run. */
  get unfinished(): number {
    return [...this.#lanes.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** Ids of what ran to its end. */
  get finished(): string[] {
    return [...this.#byId].filter(([, { state }]) => state === "finished").map(([id]) => id);
  }

  /** Nothing runs any more, and nothing is told. */
  end(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#lanes.clear();
  }

  #enqueue(envelope: Envelope, durationMs: number): Turn {
    const turn: Turn = { envelope, durationMs, state: "waiting", told: false };
    this.#byId.set(envelope.id, turn);
    const lane = this.#lanes.get(laneOf(envelope));
    if (lane) lane.push(turn);
    else {
      this.#lanes.set(laneOf(envelope), [turn]);
      this.#start(turn);
    }
    return turn;
  }

  #start(turn: Turn): void {
    turn.state = "running";
    this.#onStart(turn.envelope);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#finish(turn);
    }, turn.durationMs);
    this.#timers.add(timer);
  }

  #finish(turn: Turn): void {
    turn.state = "finished";
    this.#onEnd(turn.envelope);
    const name = laneOf(turn.envelope);
    const [, ...waiting] = this.#lanes.get(name) ?? [];
    const [next] = waiting;
    if (!next) {
      this.#lanes.delete(name);
      return;
    }
    this.#lanes.set(name, waiting);
    this.#start(next);
  }
}

/** What is no message waits for nothing. */
function laneOf(envelope: Envelope): string {
  return envelope.type === "message" ? `${envelope.account} ${envelope.message.conversation.id}` : envelope.id;
}
