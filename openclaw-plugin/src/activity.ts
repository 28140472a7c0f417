import { sayActivity } from "./bridge-client.ts";
import type { Bridge } from "./bridge-http.ts";

/** The bridge takes ten minutes without a word for the end. */
const REPEAT_MS = 3 * 60_000;
/** An hour: a turn whose end OpenClaw never tells must not be shown for ever. */
const MOST_REPEATS = 20;

/** Tells the bridge that a message is being worked on, so that it can show it. Never throws, and nobody waits for it. */
export class Activity {
  readonly #bridge: Bridge;
  readonly #inReplyTo: string;
  #timer: NodeJS.Timeout | undefined;
  /** One after another: the end must not overtake the beginning. */
  #told: Promise<void> = Promise.resolve();

  constructor(bridge: Bridge, inReplyTo: string) {
    this.#bridge = bridge;
    this.#inReplyTo = inReplyTo;
  }

  working(): void {
    if (this.#timer) return;
    let repeats = 0;
    this.#timer = setInterval(() => {
      repeats += 1;
      if (repeats <= MOST_REPEATS) this.#say("working");
      else this.idle();
    }, REPEAT_MS);
    this.#say("working");
  }

  idle(): void {
    if (!this.#timer) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#say("idle");
  }

  #say(state: "working" | "idle"): void {
    this.#told = this.#told.then(() => sayActivity(this.#bridge, this.#inReplyTo, state)).catch(() => undefined);
  }
}
