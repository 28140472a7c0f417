export interface BridgeCall {
  /** Whose token is used. */
  account: string;
  method: string;
  /** An address of the bridge's API, or a whole URL of it. */
  path: string;
  json?: unknown;
  /** Made anew for every try. */
  form?: () => FormData;
  headers?: Record<string, string>;
  /** Default 10 s. */
  timeoutMs?: number;
}

export interface BridgeAnswer {
  status: number;
  ok: boolean;
  /** A 2xx, or a 4xx with a problem document: asking again changes nothing. */
  final: boolean;
  /** Of a JSON answer; {} else. */
  body: Record<string, unknown>;
  /** The whole body as it came. */
  bytes: Buffer;
}

const RETRY_MS = 250;
const GIVE_UP_MS = 10 * 60_000;
const TIMEOUT_MS = 10_000;

/** Calls of the bridge's API as the contract asks of a caller (design §6). */
export class BridgeCalls {
  readonly #options: { tokenOf: (account: string) => string; bridgeUrl: () => string | undefined };
  readonly #abort = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(options: { tokenOf: (account: string) => string; bridgeUrl: () => string | undefined }) {
    this.#options = options;
  }

  get closed(): boolean {
    return this.#abort.signal.aborted;
  }

  /** One try; undefined when there was no answer. */
  async once(call: BridgeCall): Promise<BridgeAnswer | undefined> {
    const base = this.#options.bridgeUrl();
    if (base === undefined || this.closed) return undefined;
    const { account, method, path, json, form, timeoutMs = TIMEOUT_MS } = call;
    try {
      const response = await fetch(new URL(path, base), {
        method,
        headers: {
          authorization: `Bearer ${this.#options.tokenOf(account)}`,
          ...(json !== undefined && { "content-type": "application/json" }),
          ...call.headers,
        },
        ...(json !== undefined && { body: JSON.stringify(json) }),
        ...(form && { body: form() }),
        signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(timeoutMs)]),
      });
      return await answerOf(response);
    } catch {
      return undefined;
    }
  }

  /** Again and again until an answer is final, for ten minutes; undefined when none was, or `close` came first. */
  async insist(call: BridgeCall): Promise<BridgeAnswer | undefined> {
    const until = performance.now() + GIVE_UP_MS;
    while (!this.closed && performance.now() < until) {
      const answer = await this.once(call);
      if (answer?.final) return answer;
      await this.pause(RETRY_MS);
    }
    return undefined;
  }

  /** Ends early with `close`, and with the signal. */
  pause(ms: number, signal?: AbortSignal): Promise<void> {
    const ends = signal ? AbortSignal.any([this.#abort.signal, signal]) : this.#abort.signal;
    if (ends.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#timers.delete(timer);
        ends.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#timers.add(timer);
      ends.addEventListener("abort", done);
    });
  }

  close(): void {
    this.#abort.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}

async function answerOf(response: Response): Promise<BridgeAnswer> {
  const type = response.headers.get("content-type") ?? "";
  const bytes = Buffer.from(await response.arrayBuffer());
  const isProblem = type.startsWith("application/problem+json");
  const { status, ok } = response;
  const body = isProblem || type.startsWith("application/json") ? objectIn(bytes) : {};
  return { status, ok, final: ok || (isProblem && status < 500), body, bytes };
}

/** A file that somebody sent may call itself JSON and be none. */
function objectIn(bytes: Buffer): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(bytes.toString());
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
