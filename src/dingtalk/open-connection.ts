import { networkInterfaces } from "node:os";
import { type Dispatcher, request } from "undici";
import { BridgeError } from "../domain/errors.ts";
import { type OpenAnswer, readOpenAnswer } from "./open-answer.ts";
import { endpointUrl } from "./stream-endpoint.ts";
import { networkFailure, timedOut } from "./stream-failure.ts";

export interface Subscription {
  type: "CALLBACK" | "EVENT";
  topic: string;
}

export interface OpenConnectionOptions {
  /** `https://api.dingtalk.com`, another region, or a simulator. */
  apiBase: string;
  clientId: string;
  clientSecret: string;
  subscriptions: readonly Subscription[];
  userAgent: string;
  dispatcher: Dispatcher;
  /** For the whole call: connecting, headers and body. */
  timeoutMs: number;
  signal?: AbortSignal;
}

const MAX_BODY_BYTES = 64 * 1024;

/**
 * Asks DingTalk for a WebSocket address (`POST /v1.0/gateway/connections/open`, dingtalk-protocol.md §1.1). The ticket in
 * its query is good for 90 s and one connection: never log or keep the URL.
 *
 * @throws BridgeError the codes of `readOpenAnswer`, stream_timeout, stream_unreachable, stream_bad_answer; `stopping` when
 *   `signal` was aborted
 */
export async function openConnection(options: OpenConnectionOptions): Promise<URL> {
  const step = `open call to ${new URL(options.apiBase).host}`;
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs);
  const onAbort = () => deadline.abort();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    options.signal?.throwIfAborted();
    const { endpoint, ticket } = readOpenAnswer(await post(options, deadline.signal), [options.clientSecret]);
    return endpointUrl(endpoint, ticket, options.apiBase);
  } catch (error) {
    if (options.signal?.aborted === true) throw new BridgeError("stopping", `${step}: given up`);
    if (error instanceof BridgeError) throw error;
    throw deadline.signal.aborted ? timedOut(step, options.timeoutMs) : networkFailure(step, error);
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
  }
}

async function post(options: OpenConnectionOptions, signal: AbortSignal): Promise<OpenAnswer> {
  const url = `${options.apiBase.replace(/\/+$/, "")}/v1.0/gateway/connections/open`;
  const { statusCode, body } = await request(url, {
    method: "POST",
    dispatcher: options.dispatcher,
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    signal,
    headers: {
      "content-type": "application/json",
      // Without it DingTalk answers in XML.
      accept: "application/json",
      "user-agent": options.userAgent,
    },
    body: JSON.stringify({
      clientId: options.clientId,
      clientSecret: options.clientSecret,
      subscriptions: options.subscriptions.map(({ type, topic }) => ({ type, topic })),
      ua: options.userAgent,
      localIp: localAddresses(),
    }),
  });
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BODY_BYTES) break;
    chunks.push(chunk);
  }
  return { status: statusCode, body: Buffer.concat(chunks).toString("utf8") };
}

/** For DingTalk's own diagnosis, as its other SDKs send it. */
function localAddresses(): string {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((address) => address.family === "IPv4" && !address.internal)
    .map((address) => address.address)
    .slice(0, 8)
    .join(",");
}
