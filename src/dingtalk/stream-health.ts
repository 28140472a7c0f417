import type { BridgeError } from "../domain/errors.ts";
import type { Health } from "../ops/service.ts";

export type StreamState = "stopped" | "connecting" | "connected" | "replacing" | "waiting";

const SHORT_LIVES_MEND =
  "Another program may hold connections of the same Client ID (each push goes to one of them at random): stop it. Otherwise DingTalk may hold the robot back after many connections in a short time: stop the bridge for 40 minutes, then start it once.";

/** What happened to an account's connections lately, as the health report words it. */
export class StreamHealth {
  #failure: BridgeError | undefined;
  #known = false;
  #shortLives = 0;
  readonly #shortLivesLimit: number;

  constructor(shortLivesLimit: number) {
    this.#shortLivesLimit = shortLivesLimit;
  }

  /** Whether an attempt has ended, one way or the other. */
  get known(): boolean {
    return this.#known;
  }

  reset(): void {
    this.#failure = undefined;
    this.#known = false;
    this.#shortLives = 0;
  }

  connected(): void {
    this.#known = true;
    this.#failure = undefined;
  }

  failed(error: BridgeError): void {
    this.#known = true;
    this.#failure = error;
  }

  /** A push came, or a connection lived: it works. */
  proven(): void {
    this.#shortLives = 0;
  }

  /** Accepted, closed by the peer soon after, without one message. True when the hint is due for the first time. */
  shortLife(): boolean {
    this.#shortLives += 1;
    return this.#shortLives === this.#shortLivesLimit;
  }

  get hint(): { detail: string; mend: string } | undefined {
    if (this.#shortLives < this.#shortLivesLimit) return undefined;
    const detail = `DingTalk accepted and closed the connection ${this.#shortLives} times in a row without one message`;
    return { detail, mend: SHORT_LIVES_MEND };
  }

  report(state: StreamState, live: boolean): Health {
    if (state === "stopped") return { status: "down", detail: "stopped" };
    const { hint } = this;
    if (hint !== undefined) return { status: live ? "degraded" : "down", code: "stream_refused", ...hint };
    const failure = this.#failure;
    if (live) {
      if (failure === undefined) return { status: "ok" };
      return { ...worded(failure), status: "degraded", detail: `replacement failed: ${failure.message}` };
    }
    if (!this.#known) return { status: "starting" };
    if (failure === undefined) return { status: "down", code: "stream_unavailable", detail: "reconnecting" };
    return { ...worded(failure), status: "down" };
  }
}

function worded({ code, message, mend }: BridgeError) {
  return { code, detail: message, ...(mend === undefined ? {} : { mend }) };
}
