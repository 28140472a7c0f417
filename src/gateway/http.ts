import { Agent, type Dispatcher, errors, request } from "undici";
import { BridgeError, coerceError } from "../domain/errors.ts";
import type { GatewayAnswer } from "./answers.ts";

const ANSWER_LIMIT = 64 * 1024;

/** Connections to the gateway, never through a proxy: it is a neighbour. The caller closes it. */
export function createGatewayDispatcher(): Dispatcher {
  return new Agent({ connect: { timeout: 5_000 }, allowH2: false });
}

/**
 * One request to the gateway. Throws BridgeError `gateway_unreachable` (refused, DNS, TLS, reset), `gateway_timeout`,
 * or `interrupted` when `signal` ended it.
 */
export async function callGateway(options: {
  dispatcher: Dispatcher;
  url: URL;
  method: "GET" | "POST";
  headers: Record<string, string>;
  body?: string;
  timeoutMs: number;
  signal?: AbortSignal;
}): Promise<GatewayAnswer> {
  // Cleared afterwards: AbortSignal.timeout keeps each of 6,000 signals alive for 30 s at 200 POSTs a second (measured).
  const controller = new AbortController();
  const deadline = { passed: false };
  const timer = setTimeout(() => {
    deadline.passed = true;
    controller.abort();
  }, options.timeoutMs);
  const onStop = (): void => controller.abort();
  if (options.signal?.aborted) onStop();
  options.signal?.addEventListener("abort", onStop);
  const { signal } = controller;
  try {
    const response = await request(options.url, {
      dispatcher: options.dispatcher,
      method: options.method,
      headers: options.headers,
      body: options.body ?? null,
      headersTimeout: options.timeoutMs,
      bodyTimeout: options.timeoutMs,
      signal,
    });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > ANSWER_LIMIT) break;
      chunks.push(chunk);
    }
    return {
      status: response.statusCode,
      contentType: header(response.headers["content-type"]) ?? "",
      retryAfterMs: retryAfter(header(response.headers["retry-after"])),
      body: Buffer.concat(chunks).toString("utf8"),
    };
  } catch (thrown) {
    throw classify(thrown, options.signal, deadline.passed);
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onStop);
  }
}

function classify(thrown: unknown, stop: AbortSignal | undefined, tooLate: boolean): BridgeError {
  const cause = coerceError(thrown);
  if (stop?.aborted)
    return new BridgeError("interrupted", "stopped while waiting for the gateway", { cause, retryable: true });
  if (tooLate || cause instanceof errors.HeadersTimeoutError || cause instanceof errors.BodyTimeoutError) {
    return new BridgeError("gateway_timeout", "the gateway did not answer in time", { cause, retryable: true });
  }
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : cause.name;
  return new BridgeError("gateway_unreachable", `the gateway cannot be reached: ${code}`, { cause, retryable: true });
}

function header(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/** Seconds or an HTTP date (RFC 9110 §10.2.3), as milliseconds from now. */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
