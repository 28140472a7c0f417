import type { Envelope } from "../domain/envelope.ts";

const RETRY_MS = 250;
const GIVE_UP_MS = 10 * 60_000;

/**
 * Sends replies as the contract asks of a caller (design §6): the same Idempotency-Key again and again until a 2xx or
 * a problem+json 4xx, for ten minutes.
 */
export class ReplySender {
  readonly #options: { tokenOf: (account: string) => string; bridgeUrl: () => string | undefined };
  readonly #abort = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Replies per conversation go one after another: a chat partner does not overtake itself. */
  readonly #tails = new Map<string, Promise<void>>();
  accepted = 0;
  onReplied: ((reply: { envelope: Envelope; status: number; id: string | undefined }) => void) | undefined;

  constructor(options: { tokenOf: (account: string) => string; bridgeUrl: () => string | undefined }) {
    this.#options = options;
  }

  send(envelope: Envelope, text: string, delayMs: number): void {
    if (envelope.type !== "message") return;
    const lane = `${envelope.account} ${envelope.message.conversation.id}`;
    const before = this.#tails.get(lane) ?? Promise.resolve();
    const tail = before
      .then(() => this.#deliver(envelope, text, delayMs))
      .then(() => {
        if (this.#tails.get(lane) === tail) this.#tails.delete(lane);
      });
    this.#tails.set(lane, tail);
  }

  close(): void {
    this.#abort.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  async #deliver(envelope: Envelope, text: string, delayMs: number): Promise<void> {
    if (delayMs > 0) await this.#pause(delayMs);
    const until = performance.now() + GIVE_UP_MS;
    while (!this.#abort.signal.aborted && performance.now() < until) {
      const answer = await this.#post(envelope, text);
      if (answer?.final) {
        if (answer.status < 300) this.accepted += 1;
        this.onReplied?.({ envelope, status: answer.status, id: answer.id });
        return;
      }
      await this.#pause(RETRY_MS);
    }
  }

  async #post(
    envelope: Envelope,
    text: string,
  ): Promise<{ status: number; final: boolean; id: string | undefined } | undefined> {
    const base = this.#options.bridgeUrl();
    if (base === undefined) return undefined;
    try {
      const response = await fetch(new URL("/v1/messages", base), {
        method: "POST",
        headers: {
          authorization: `Bearer ${this.#options.tokenOf(envelope.account)}`,
          "content-type": "application/json",
          "idempotency-key": encodeURI(`${envelope.id}/scripted/1`),
        },
        body: JSON.stringify({
          account: envelope.account,
          to: envelope.reply?.to,
          inReplyTo: envelope.id,
          content: { type: "text", text },
        }),
        signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(10_000)]),
      });
      const body = (await response.json()) as { id?: string };
      const problem = response.headers.get("content-type")?.startsWith("application/problem+json") ?? false;
      return { status: response.status, final: response.ok || (problem && response.status < 500), id: body.id };
    } catch {
      return undefined;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#timers.delete(timer);
        this.#abort.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#timers.add(timer);
      this.#abort.signal.addEventListener("abort", done);
    });
  }
}
