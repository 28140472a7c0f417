import { setTimeout as sleep } from "node:timers/promises";
import type { Account } from "./accounts.ts";

/** The caller of the bridge repeats a call with the same key for at least this long (contract, "API"). */
const PATIENCE_MS = 15 * 60_000;
const TRY_TIMEOUT_MS = 15_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

export interface Log {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** `POST /v1/messages` of the bridge. */
export interface OutboundMessage {
  /** `user:<staffId>` or `conversation:<id>`. */
  to: string;
  inReplyTo?: string;
  content: { type: "text" | "markdown"; text: string };
}

export interface SendOptions {
  account: Account;
  message: OutboundMessage;
  /** One intent to send: the bridge makes one message of all calls with the same key. */
  key: string;
  userAgent: string;
  log: Log;
  signal?: AbortSignal | undefined;
}

/** The bridge refused the message for good. */
export class BridgeRefusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(`the bridge refused the message: ${code}${detail ? ` (${detail})` : ""}`);
    this.name = "BridgeRefusal";
    this.status = status;
    this.code = code;
  }
}

/**
 * Hands a message to the bridge and returns the bridge's id for it: from then on it is on the bridge's disk. Repeats until
 * the bridge has taken it, or refuses it with a problem document (BridgeRefusal), or patience ends (Error).
 */
export async function sendMessage(options: SendOptions): Promise<string> {
  const { account, log, signal } = options;
  const deadline = performance.now() + PATIENCE_MS;
  for (let attempt = 0; ; attempt += 1) {
    const answer = await tryOnce(options);
    if (answer.kind === "taken") {
      if (attempt > 0) log.info(`dingtalk: the bridge at ${account.bridgeUrl} took the message at try ${attempt + 1}`);
      return answer.id;
    }
    if (answer.kind === "refused") throw answer.error;
    const delay = Math.max(answer.afterMs ?? 0, backoff(attempt));
    if (performance.now() + delay > deadline) {
      throw new Error(`the bridge at ${account.bridgeUrl} did not take the message: ${answer.reason}`);
    }
    if (attempt === 0)
      log.warn(`dingtalk: the bridge at ${account.bridgeUrl} cannot be reached, trying on: ${answer.reason}`);
    await sleep(delay, undefined, signal ? { signal } : {});
  }
}

type Answer =
  | { kind: "taken"; id: string }
  | { kind: "refused"; error: BridgeRefusal }
  | { kind: "later"; reason: string; afterMs?: number };

async function tryOnce({ account, message, key, userAgent, signal }: SendOptions): Promise<Answer> {
  signal?.throwIfAborted();
  try {
    const response = await fetch(`${account.bridgeUrl}/v1/messages`, {
      method: "POST",
      headers: { ...headers(account, userAgent), "content-type": "application/json", "idempotency-key": key },
      body: JSON.stringify({ account: account.bridgeAccount, ...message }),
      signal: withTimeout(signal),
    });
    return await readAnswer(response);
  } catch (error) {
    signal?.throwIfAborted();
    return { kind: "later", reason: reasonOf(error) };
  }
}

async function readAnswer(response: Response): Promise<Answer> {
  const body = await json(response);
  if (response.ok && typeof body?.["id"] === "string") return { kind: "taken", id: body["id"] };
  const reason = `HTTP ${response.status}`;
  // Anything else that listens on that port may answer 4xx too; only a problem document is the bridge's own word.
  const problem = /^application\/problem\+json/i.test(response.headers.get("content-type") ?? "") && body;
  if (problem && response.status >= 400 && response.status < 500 && response.status !== 429) {
    const { code, detail } = problem;
    const refusal = {
      code: typeof code === "string" ? code : reason,
      detail: typeof detail === "string" ? detail : "",
    };
    return { kind: "refused", error: new BridgeRefusal(response.status, refusal.code, refusal.detail) };
  }
  const seconds = Number(response.headers.get("retry-after"));
  return { kind: "later", reason, ...(seconds > 0 && { afterMs: Math.min(seconds * 1000, LONGEST_DELAY_MS) }) };
}

/** What the log says about the bridge when the channel starts. */
export async function describeBridge(
  account: Account,
  userAgent: string,
  signal: AbortSignal,
): Promise<{ ok: boolean; text: string }> {
  const at = `bridge at ${account.bridgeUrl}`;
  try {
    const options = {
      headers: headers(account, userAgent),
      signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]),
    };
    const status = await fetch(`${account.bridgeUrl}/v1/status`, options);
    if (status.status === 401 || status.status === 403) {
      return {
        ok: false,
        text: `${at} refuses this account's token: use the same App Key and App Secret, or the same BRIDGE_TOKEN, on both sides`,
      };
    }
    const body = await json(status);
    if (!status.ok || !body) return { ok: false, text: `${at} answers HTTP ${status.status}: is it dingtalk-bridge?` };
    return { ok: true, text: typeof body["version"] === "string" ? `${at}, version ${body["version"]}` : at };
  } catch (error) {
    signal.throwIfAborted();
    return {
      ok: false,
      text: `no ${at} (${reasonOf(error)}): start it with "npx dingtalk-bridge start"; no message is lost meanwhile`,
    };
  }
}

function headers(account: Account, userAgent: string): Record<string, string> {
  return { authorization: `Bearer ${account.tokens[0] ?? ""}`, accept: "application/json", "user-agent": userAgent };
}

function withTimeout(signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(TRY_TIMEOUT_MS);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

async function json(response: Response): Promise<Record<string, unknown> | undefined> {
  try {
    const body: unknown = await response.json();
    return typeof body === "object" && body !== null ? (body as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** `fetch` says "fetch failed" and keeps the reason in `cause`. */
function reasonOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error;
  if (cause instanceof Error) return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
  return String(cause);
}

/** Full jitter: many turns that failed together must not come back together. */
function backoff(attempt: number): number {
  const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return ceiling / 2 + Math.random() * (ceiling / 2);
}
