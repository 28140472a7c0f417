import { type Dispatcher, type FormData, request } from "undici";
import { BridgeError, type ErrorCode, coerceError } from "../domain/errors.ts";
import type { Logger } from "../ops/logger.ts";

export interface HttpRequest {
  method: "GET" | "POST" | "PUT" | "DELETE";
  url: string;
  headers?: Record<string, string>;
  /** Sent as `application/json`. */
  json?: unknown;
  /** Sent as `multipart/form-data`, as it is read. Not together with `json`. */
  form?: FormData;
  signal?: AbortSignal | undefined;
  /** For the whole exchange: connecting, headers and body. */
  timeoutMs?: number;
}

export interface HttpAnswer {
  status: number;
  /** Lower-case names. */
  headers: Readonly<Record<string, string>>;
  body: AnswerBody;
  /** `x-acs-request-id`, else the body's `requestid`: what DingTalk's support asks for (dingtalk-protocol.md §3.1). */
  requestId: string | undefined;
}

/**
 * `other` is a whole body that is neither JSON nor HTML; `incomplete` is one that broke off, ran into the deadline or is
 * too large to be an answer. The text of both is dropped: an error page may quote the URL, secrets included.
 */
export type AnswerBody = { kind: "json"; value: unknown } | { kind: "html" | "other" | "incomplete" };

/** One exchange with DingTalk. Any status is an answer. @throws CallError when no status arrived. */
export type HttpCall = (request: HttpRequest) => Promise<HttpAnswer>;

/**
 * No answer. `sent` is false only when nothing of the request was written, so that it surely had no effect:
 * - not sent: `dingtalk_unreachable` (refused, DNS, TLS, no connection in time), `stopping` (dispatcher closed), `internal`
 * - sent: `dingtalk_timeout`, `dingtalk_unavailable` (connection lost), `dingtalk_bad_answer` (not HTTP)
 * - either: `interrupted` (the caller's signal)
 */
export class CallError extends BridgeError {
  readonly sent: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    options: { sent: boolean; cause?: unknown; mend?: string | undefined },
  ) {
    super(code, message, { retryable: code !== "internal", cause: options.cause, mend: options.mend });
    this.name = "CallError";
    this.sent = options.sent;
  }
}

/** DingTalk's answers have some hundred bytes. */
const MAX_BODY_BYTES = 1024 * 1024;

/** Logs each exchange at debug level without query, headers and bodies: they carry the secrets. */
export function createHttpCall(options: {
  dispatcher: Dispatcher;
  logger: Logger;
  userAgent: string;
  timeoutMs: number;
}): HttpCall {
  const { dispatcher, logger, userAgent } = options;
  return async (wanted) => {
    const started = performance.now();
    const target = targetOf(wanted);
    const exchange = new Exchange(dispatcher, wanted, wanted.timeoutMs ?? options.timeoutMs);
    try {
      const answer = await exchange.run(userAgent);
      const ms = Math.round(performance.now() - started);
      logger.debug({ request: target, status: answer.status, requestId: answer.requestId, ms }, "DingTalk answered");
      return answer;
    } catch (thrown) {
      const error = exchange.explain(thrown, target);
      const ms = Math.round(performance.now() - started);
      logger.debug({ request: target, code: error.code, sent: error.sent, ms }, "no answer from DingTalk");
      throw error;
    }
  };
}

function targetOf({ method, url }: HttpRequest): string {
  const parsed = URL.parse(url);
  // Without the original error: it carries the URL.
  if (parsed === null) throw new CallError("internal", `${method}: not a URL`, { sent: false });
  return `${method} ${parsed.host}${parsed.pathname}`;
}

class Exchange {
  readonly #dispatcher: Dispatcher;
  readonly #wanted: HttpRequest;
  readonly #timeoutMs: number;
  readonly #end = new AbortController();
  #sent = false;

  constructor(dispatcher: Dispatcher, wanted: HttpRequest, timeoutMs: number) {
    this.#wanted = wanted;
    this.#timeoutMs = timeoutMs;
    // undici starts a request on a connected socket right before it writes: one that never started has put no byte on the
    // wire.
    this.#dispatcher = dispatcher.compose((dispatch) => (options, handler) => {
      const start = handler.onRequestStart?.bind(handler);
      handler.onRequestStart = (controller, context) => {
        this.#sent = true;
        start?.(controller, context);
      };
      return dispatch(options, handler);
    });
  }

  async run(userAgent: string): Promise<HttpAnswer> {
    const { signal } = this.#wanted;
    signal?.throwIfAborted();
    // undici tells of an abort only once it has a connection, so the wait for one is ended here.
    const { promise: endedUnsent, reject } = Promise.withResolvers<never>();
    const end = () => {
      this.#end.abort();
      if (!this.#sent) reject(this.#end.signal.reason);
    };
    const timer = setTimeout(end, this.#timeoutMs);
    signal?.addEventListener("abort", end, { once: true });
    try {
      return await Promise.race([this.#exchange(userAgent), endedUnsent]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
    }
  }

  async #exchange(userAgent: string): Promise<HttpAnswer> {
    const { method, url, headers, json, form } = this.#wanted;
    const response = await request(url, {
      dispatcher: this.#dispatcher,
      method,
      headers: {
        accept: "application/json",
        "user-agent": userAgent,
        ...(json === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: form ?? (json === undefined ? null : JSON.stringify(json)),
      headersTimeout: this.#timeoutMs,
      bodyTimeout: this.#timeoutMs,
      signal: this.#end.signal,
    });
    const body = await readBody(response.body);
    const answerHeaders = flat(response.headers);
    return {
      status: response.statusCode,
      headers: answerHeaders,
      body,
      requestId: requestIdOf(answerHeaders, body),
    };
  }

  explain(thrown: unknown, target: string): CallError {
    if (thrown instanceof CallError) return thrown;
    const cause = coerceError(thrown);
    const sent = this.#sent;
    const system = systemCode(cause);
    const make = (code: ErrorCode, text: string, mend?: string) =>
      new CallError(code, `${target}: ${text}`, { sent, cause, mend });
    const reach = "Check that this machine reaches DingTalk at port 443, directly or through HTTPS_PROXY.";

    if (this.#wanted.signal?.aborted === true) return make("interrupted", "given up by the bridge");
    if (system === "UND_ERR_CLOSED" || system === "UND_ERR_DESTROYED")
      return make("stopping", "the bridge is stopping");
    const late = this.#end.signal.aborted || system === "UND_ERR_HEADERS_TIMEOUT" || system === "UND_ERR_BODY_TIMEOUT";
    if (late && sent) return make("dingtalk_timeout", `no answer within ${this.#timeoutMs} ms`);
    if (late) return make("dingtalk_unreachable", `no connection within ${this.#timeoutMs} ms`, reach);
    if (system === "UND_ERR_INVALID_ARG") return make("internal", "the request is not valid");
    if (!sent) return make("dingtalk_unreachable", `no connection (${system})`, reach);
    if (cause.name === "HTTPParserError" || system === "UND_ERR_HEADERS_OVERFLOW") {
      // Without the original error: it carries what was received, which may quote the URL.
      return new CallError("dingtalk_bad_answer", `${target}: the answer is not HTTP (${system})`, { sent });
    }
    return make("dingtalk_unavailable", `connection lost before an answer (${system})`);
  }
}

async function readBody(body: AsyncIterable<Buffer>): Promise<AnswerBody> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      if (bytes > MAX_BODY_BYTES) return { kind: "incomplete" };
      chunks.push(chunk);
    }
  } catch {
    // The status is known and says more than the error; what to make of it is for the reader of the answer.
    return { kind: "incomplete" };
  }
  const text = Buffer.concat(chunks).toString("utf8");
  try {
    return { kind: "json", value: JSON.parse(text) };
  } catch {
    return { kind: /^\s*<(!doctype html|html|head|body)/i.test(text) ? "html" : "other" };
  }
}

function flat(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : (value ?? "")]),
  );
}

function requestIdOf(headers: Readonly<Record<string, string>>, body: AnswerBody): string | undefined {
  const own = headers["x-acs-request-id"];
  if (own !== undefined && own !== "") return own.slice(0, 100);
  if (body.kind !== "json" || typeof body.value !== "object" || body.value === null) return undefined;
  const { requestid, request_id } = body.value as Record<string, unknown>;
  const said = requestid ?? request_id;
  return typeof said === "string" && said !== "" ? said.slice(0, 100) : undefined;
}

/** undici and Node put the system's code on the error, or on its cause. */
function systemCode(error: Error): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth += 1) {
    if ("code" in at && typeof at.code === "string") return at.code;
  }
  return error.name;
}
