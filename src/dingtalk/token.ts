import type { Account } from "../domain/account.ts";
import { type Backoff, backoffDelay } from "../domain/backoff.ts";
import { BridgeError, type ErrorCode, coerceError } from "../domain/errors.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import { judge, unproven } from "./answers.ts";
import { CallError, type HttpCall } from "./http.ts";

/** No token. Nothing of what needed it was sent. Until `retryAfterMs` have passed the source will not ask again. */
export class TokenError extends BridgeError {
  readonly retryAfterMs: number;

  constructor(code: ErrorCode, message: string, options: { retryAfterMs: number; cause?: unknown }) {
    super(code, message, { retryable: true, cause: options.cause });
    this.name = "TokenError";
    this.retryAfterMs = options.retryAfterMs;
  }
}

interface Token {
  value: string;
  /** Monotonic milliseconds. */
  refreshAt: number;
  expiresAt: number;
}

const REFRESH_BEFORE_MS = 5 * 60_000;
/** DingTalk throttles the token API ("不可频繁调用", dingtalk-protocol.md §3.1), without saying how. */
const FAILED: Backoff = { baseMs: 1_000, capMs: 60_000 };
/** So many fresh tokens refused within the time mean that another will not help either. */
const REFUSALS = { count: 3, withinMs: 60_000, pauseMs: 60_000 } as const;

/**
 * The access token of one account (`POST /v1.0/oauth2/accessToken`, dingtalk-protocol.md §3.1). Concurrent callers share one
 * request. In its last five minutes a token is renewed beside its use, so that nobody waits for it.
 */
export class TokenSource {
  #account: Pick<Account, "name" | "appKey" | "appSecret">;
  readonly #url: string;
  readonly #call: HttpCall;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #random: () => number;
  #token: Token | undefined;
  #fetching: Promise<string> | undefined;
  #failures = 0;
  #failed: { error: BridgeError; until: number } | undefined;
  #refusedAt: readonly number[] = [];

  constructor(options: {
    account: Pick<Account, "name" | "appKey" | "appSecret">;
    apiBase: string;
    call: HttpCall;
    clock: Clock;
    logger: Logger;
    /** Uniform in [0, 1). */
    random?: () => number;
  }) {
    this.#account = options.account;
    this.#url = `${options.apiBase.replace(/\/+$/, "")}/v1.0/oauth2/accessToken`;
    this.#call = options.call;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#random = options.random ?? Math.random;
  }

  /**
   * A token that is valid as far as is known. `signal` ends the wait of this caller only.
   *
   * @throws TokenError dingtalk_bad_credentials, dingtalk_ip_not_allowed, dingtalk_throttled, dingtalk_unreachable and the
   *   other codes of `judge` and CallError; `interrupted` when `signal` was aborted
   */
  async get(signal?: AbortSignal): Promise<string> {
    const now = this.#clock.monotonic();
    const token = this.#token;
    const mayFetch = this.#failed === undefined || now >= this.#failed.until;
    if (token !== undefined && now < token.expiresAt) {
      // Its failure is logged where it happens; the token at hand is good until it expires.
      if (now >= token.refreshAt && mayFetch) this.#shared().catch(() => undefined);
      return token.value;
    }
    if (!mayFetch && this.#failed !== undefined) {
      const { error, until } = this.#failed;
      throw new TokenError(error.code, error.message, { retryAfterMs: until - now, cause: error });
    }
    if (signal === undefined) return this.#shared();
    if (signal.aborted) throw givenUp();
    return unlessAborted(this.#shared(), signal);
  }

  /** Why there is no token, while it lasts. */
  get failure(): ErrorCode | undefined {
    return this.#failed?.error.code;
  }

  /** DingTalk refused this token. Only this very one is dropped: others may have renewed it meanwhile. */
  invalidate(token: string): void {
    if (this.#token?.value !== token) return;
    this.#token = undefined;
    const now = this.#clock.monotonic();
    this.#refusedAt = [...this.#refusedAt, now].slice(-REFUSALS.count);
    const oldest = this.#refusedAt[0] ?? now;
    if (this.#refusedAt.length < REFUSALS.count || now - oldest > REFUSALS.withinMs) return;
    this.#refusedAt = [];
    const text = "DingTalk refuses the tokens that it has just issued";
    this.#failed = { error: new BridgeError("dingtalk_bad_credentials", text), until: now + REFUSALS.pauseMs };
    this.#logger.warn({ account: this.#account.name, code: "dingtalk_bad_credentials" }, text);
  }

  /** The app has another secret: what failed with the old one is asked anew. A token at hand goes on until DingTalk refuses it. */
  rekey(appSecret: string): void {
    this.#account = { ...this.#account, appSecret };
    this.#failed = undefined;
    this.#failures = 0;
    this.#refusedAt = [];
  }

  #shared(): Promise<string> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<string> {
    const account = this.#account;
    try {
      const token = await this.#ask(account);
      this.#token = token;
      this.#failures = 0;
      this.#failed = undefined;
      return token.value;
    } catch (thrown) {
      if (account !== this.#account) return this.#fetch();
      throw this.#backOff(coerceError(thrown));
    }
  }

  async #ask({ appKey, appSecret }: Pick<Account, "appKey" | "appSecret">): Promise<Token> {
    const asked = this.#clock.monotonic();
    const answer = await this.#call({ method: "POST", url: this.#url, json: { appKey, appSecret } });
    const judged = judge(answer, [appSecret]);
    if (judged.kind === "token") throw new BridgeError("dingtalk_bad_credentials", judged.detail);
    if (judged.kind !== "done") {
      const retryAfterMs = judged.kind === "retry" ? (judged.afterMs ?? 0) : 0;
      throw new TokenError(judged.code, judged.detail ?? judged.code, { retryAfterMs });
    }
    const { accessToken, expireIn } = judged.value;
    const lifeMs = Number(expireIn) * 1_000;
    if (typeof accessToken !== "string" || accessToken === "" || !(lifeMs > 0) || lifeMs === Number.POSITIVE_INFINITY) {
      throw new BridgeError("dingtalk_bad_answer", unproven("accessToken and expireIn", answer).detail ?? "");
    }
    return {
      value: accessToken,
      refreshAt: asked + lifeMs - Math.min(REFRESH_BEFORE_MS, lifeMs / 2),
      expiresAt: asked + lifeMs,
    };
  }

  #backOff(cause: Error): TokenError {
    this.#failures += 1;
    const code = cause instanceof BridgeError ? cause.code : "internal";
    const asked =
      cause instanceof TokenError ? cause.retryAfterMs : code === "dingtalk_bad_credentials" ? FAILED.capMs : 0;
    const retryAfterMs = Math.max(asked, backoffDelay(FAILED, this.#failures, this.#random));
    const error = new TokenError(code, `no access token: ${cause.message}`, { retryAfterMs, cause });
    this.#failed = { error, until: this.#clock.monotonic() + retryAfterMs };
    const { name } = this.#account;
    this.#logger.warn(
      { account: name, code, detail: error.message, failures: this.#failures, retryAfterMs },
      "no token",
    );
    return error;
  }
}

const givenUp = (): CallError => new CallError("interrupted", "given up by the bridge", { sent: false });

async function unlessAborted(promise: Promise<string>, signal: AbortSignal): Promise<string> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(givenUp());
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
