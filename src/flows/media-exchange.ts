import { BridgeError, coerceError } from "../domain/errors.ts";

/** Failures of a certificate: the same at the next try. */
const CERTIFICATE = /^(?:CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;

/** One fetch from its first connection to the last byte of its body: its deadline, its end, and what its errors mean. */
export class Exchange {
  readonly #timeoutMs: number;
  readonly #caller: AbortSignal | undefined;
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort = (): void => this.#controller.abort();
  #isLate = false;

  constructor(timeoutMs: number, caller: AbortSignal | undefined) {
    this.#timeoutMs = timeoutMs;
    this.#caller = caller;
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#controller.abort();
    }, timeoutMs);
    caller?.addEventListener("abort", this.#onAbort, { once: true });
    if (caller?.aborted === true) this.#controller.abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Connections and look-ups do not hear of an abort, so the wait for them is ended here. */
  async until<T>(work: Promise<T>): Promise<T> {
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(this.signal.reason);
    this.signal.addEventListener("abort", onAbort, { once: true });
    if (this.signal.aborted) onAbort();
    try {
      return await Promise.race([work, ended]);
    } finally {
      this.signal.removeEventListener("abort", onAbort);
    }
  }

  /** The body, counted; the exchange ends with it. */
  async *read(body: AsyncIterable<Uint8Array>, maxBytes: number): AsyncIterable<Uint8Array> {
    let bytes = 0;
    try {
      for await (const chunk of body) {
        bytes += chunk.byteLength;
        if (bytes > maxBytes) throw tooLarge(maxBytes);
        yield chunk;
      }
    } catch (thrown) {
      throw this.explain(thrown);
    } finally {
      this.end();
    }
  }

  /** Closes the connection when it still is in use. May be called again. */
  end(): void {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener("abort", this.#onAbort);
    this.#controller.abort();
  }

  explain(thrown: unknown): BridgeError {
    if (thrown instanceof BridgeError) return thrown;
    const cause = coerceError(thrown);
    if (this.#caller?.aborted === true) {
      const reason: unknown = this.#caller.reason;
      if (reason instanceof BridgeError) return reason;
      return new BridgeError("interrupted", "given up by the bridge", { retryable: true, cause });
    }
    if (this.#isLate) return notFetched(`not fetched within ${this.#timeoutMs} ms`, { retryable: true });
    const code = systemCode(cause);
    // Without the original error: it carries what was received.
    if (cause.name === "HTTPParserError") return notFetched("the answer is not HTTP", { retryable: false });
    return notFetched(`the connection failed (${code})`, { retryable: !CERTIFICATE.test(code), cause });
  }
}

export function notFetched(detail: string, options: { retryable: boolean; cause?: unknown }): BridgeError {
  return new BridgeError("media_not_fetched", detail, options);
}

export function tooLarge(maxBytes: number): BridgeError {
  return new BridgeError("media_too_large", `the file is larger than ${maxBytes} bytes`);
}

/** undici and Node put the system's code on the error, on its cause, or on the first of several. */
function systemCode(error: Error): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; depth += 1) {
    if ("code" in at && typeof at.code === "string") return at.code;
    at = at instanceof AggregateError ? at.errors[0] : at.cause;
  }
  return error.name;
}
