import { setTimeout as sleep } from "node:timers/promises";
import type { Account } from "./accounts.ts";
import { CONTRACT_HEADER, contractMismatch } from "./contract.ts";
import { CONTRACT_VERSION } from "./types.ts";

/** The caller of the bridge repeats a call with the same key for at least this long (contract, "Errors"). */
const PATIENCE_MS = 15 * 60_000;
const TRY_TIMEOUT_MS = 15_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

export interface Log {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** Told how calls went, for the account's status. */
export interface Traffic {
  /** Something went out to the bridge. */
  sent(): void;
  /** A call was not answered, or not by the bridge. */
  failed(): void;
}

/** The bridge as one account sees it. */
export interface Bridge {
  account: Account;
  userAgent: string;
  log: Log;
  signal?: AbortSignal | undefined;
  /** Of `insist`; shorter than the contract's where a person waits at a prompt. */
  patienceMs?: number;
  traffic?: Traffic | undefined;
}

export type Json = Record<string, unknown>;

export interface Call {
  method: "GET" | "POST" | "PUT";
  /** Begins with a slash. */
  path: string;
  /** Called for every try: a form is read once only. */
  body?: () => Json | FormData;
  /** One intent: the bridge makes one thing of all calls with the same key. */
  key?: string;
  /** Of one try. */
  timeoutMs?: number;
  /** Seconds that the bridge may take to say what became of a message, instead of answering as soon as it is stored. */
  waitS?: number;
  /** What the bridge's own answer has; a page of something else that listens on that port has it not. */
  isAnswer: (body: Json) => boolean;
}

export type Answer =
  | { kind: "taken"; body: Json }
  | { kind: "refused"; error: BridgeRefusal }
  | { kind: "later"; reason: string; afterMs?: number };

/** The bridge refused the call for good. */
export class BridgeRefusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(`the bridge refused it: ${code}${detail ? ` (${detail})` : ""}`);
    this.name = "BridgeRefusal";
    this.status = status;
    this.code = code;
  }
}

/** The bridge could not be reached for as long as patience lasts. */
export class BridgeAway extends Error {
  constructor(account: Account, reason: string) {
    super(`the bridge at ${shownUrl(account)} did not take it: ${reason}`);
    this.name = "BridgeAway";
  }
}

/** For a 204, which has no body. */
export const noBody = (): boolean => true;
export const hasId = (body: Json): boolean => typeof body["id"] === "string";

/**
 * Repeats a call until the bridge has taken it. Throws a BridgeRefusal when the bridge answers with a problem document, a BridgeAway
 * when patience ends.
 */
export async function insist(bridge: Bridge, call: Call): Promise<Json> {
  const { account, log, signal, patienceMs = PATIENCE_MS } = bridge;
  const deadline = performance.now() + patienceMs;
  for (let attempt = 0; ; attempt += 1) {
    const answer = await tryOnce(bridge, call);
    if (answer.kind === "taken") {
      bridge.traffic?.sent();
      if (attempt > 0) log.info(`dingtalk: the bridge at ${shownUrl(account)} took it at try ${attempt + 1}`);
      return answer.body;
    }
    if (answer.kind === "refused") throw answer.error;
    bridge.traffic?.failed();
    const delay = Math.max(answer.afterMs ?? 0, backoff(attempt));
    if (performance.now() + delay > deadline) throw new BridgeAway(account, answer.reason);
    if (attempt === 0)
      log.warn(`dingtalk: the bridge at ${shownUrl(account)} cannot be reached, trying on: ${answer.reason}`);
    await sleep(delay, undefined, signal ? { signal } : {});
  }
}

/** Throws only when the signal of `bridge` fires. */
export async function tryOnce({ account, userAgent, signal }: Bridge, call: Call): Promise<Answer> {
  signal?.throwIfAborted();
  try {
    const body = call.body?.();
    const isForm = body instanceof FormData;
    const response = await fetch(`${account.bridgeUrl}${call.path}`, {
      method: call.method,
      headers: {
        ...authorization(account, userAgent),
        ...(body && !isForm && { "content-type": "application/json" }),
        // As the bridge escapes its own: a header holds no character beyond Latin-1.
        ...(call.key !== undefined && { "idempotency-key": encodeURI(call.key) }),
        ...(call.waitS !== undefined && { prefer: `wait=${call.waitS}` }),
      },
      ...(body && { body: isForm ? body : JSON.stringify(body) }),
      redirect: "error",
      signal: withTimeout(signal, (call.timeoutMs ?? TRY_TIMEOUT_MS) + (call.waitS ?? 0) * 1_000),
    });
    return await readAnswer(response, call);
  } catch (error) {
    signal?.throwIfAborted();
    return { kind: "later", reason: reasonOf(error) };
  }
}

async function readAnswer(response: Response, { isAnswer }: Call): Promise<Answer> {
  const body = await readJson(response);
  const mismatch = contractMismatch(response.headers.get(CONTRACT_HEADER));
  if (mismatch) {
    const detail = `${mismatch.detail}; ${mismatch.mend}`;
    return { kind: "refused", error: new BridgeRefusal(response.status, "unsupported_version", detail) };
  }
  if (response.ok && isAnswer(body ?? {})) return { kind: "taken", body: body ?? {} };
  const reason = `HTTP ${response.status}`;
  // Anything else that listens on that port may answer 4xx too; only a problem document is the bridge's own word.
  const problem = /^application\/problem\+json/i.test(response.headers.get("content-type") ?? "") && body;
  const isForGood = response.status >= 400 && response.status < 500 && ![408, 429].includes(response.status);
  if (problem && isForGood) {
    const { code, detail } = problem;
    const error = new BridgeRefusal(response.status, textOr(code, reason), textOr(detail, ""));
    return { kind: "refused", error };
  }
  const seconds = Number(response.headers.get("retry-after"));
  return { kind: "later", reason, ...(seconds > 0 && { afterMs: Math.min(seconds * 1000, LONGEST_DELAY_MS) }) };
}

export function authorization(account: Account, userAgent: string): Record<string, string> {
  return {
    authorization: `Bearer ${account.tokens[0] ?? ""}`,
    accept: "application/json",
    "user-agent": userAgent,
    [CONTRACT_HEADER]: String(CONTRACT_VERSION),
  };
}

/** The bridge's address without a password that somebody may have written into it. */
export function shownUrl({ bridgeUrl }: Pick<Account, "bridgeUrl">): string {
  return withoutPassword(bridgeUrl);
}

const withoutPassword = (text: string): string => text.replaceAll(/(\w+:\/\/)[^/\s]*@/g, "$1");

export function withTimeout(signal: AbortSignal | undefined, ms: number): AbortSignal {
  const timeout = AbortSignal.timeout(ms);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

export async function readJson(response: Response): Promise<Json | undefined> {
  try {
    const body: unknown = await response.json();
    return typeof body === "object" && body !== null ? (body as Json) : undefined;
  } catch {
    return undefined;
  }
}

/** `fetch` says "fetch failed" and keeps the reason in `cause`; an address with a password it refuses, and repeats it. */
export function reasonOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error;
  if (!(cause instanceof Error)) return withoutPassword(String(cause));
  return "code" in cause && typeof cause.code === "string" ? cause.code : withoutPassword(cause.message);
}

const textOr = (value: unknown, other: string): string => (typeof value === "string" ? value : other);

/** Full jitter: many turns that failed together must not come back together. */
function backoff(attempt: number): number {
  const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return ceiling / 2 + Math.random() * (ceiling / 2);
}
