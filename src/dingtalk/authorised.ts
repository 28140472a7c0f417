import type { FormData } from "undici";
import type { Account } from "../domain/account.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { type Failure, failureOfCall, type Judged, resultCode } from "./answers.ts";
import type { HttpAnswer, HttpCall } from "./http.ts";
import { TokenError, type TokenSource } from "./token.ts";

/** A second refusal, with a token that is fresh: as wrong credentials, it is for a person to mend, and nothing is lost. */
const REFUSED_AGAIN_MS = 60_000;

export interface AuthorisedRequest<V> {
  method: "GET" | "POST" | "PUT";
  /** `/v1.0/…` */
  path: string;
  /** Where DingTalk looks for the token: in a header of `api.dingtalk.com` (default), in the query of `oapi.dingtalk.com`. */
  tokenIn?: "header" | "query";
  query?: Record<string, string>;
  json?: unknown;
  form?: FormData;
  signal?: AbortSignal | undefined;
  judge: (answer: HttpAnswer, secrets: readonly string[]) => Judged<V>;
}

/** Calls of `api.dingtalk.com` or `oapi.dingtalk.com` with the account's access token (dingtalk-protocol.md §3.1). */
export class AuthorisedApi {
  readonly #account: Account;
  readonly #base: string;
  readonly #call: HttpCall;
  readonly #tokens: TokenSource;
  readonly #logger: Logger;
  readonly #metrics: Metrics;

  constructor(options: {
    account: Account;
    apiBase: string;
    call: HttpCall;
    tokens: TokenSource;
    logger: Logger;
    metrics: Metrics;
  }) {
    this.#account = options.account;
    this.#base = options.apiBase.replace(/\/+$/, "");
    this.#call = options.call;
    this.#tokens = options.tokens;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
  }

  /** Tries again, once and at once, with a fresh token when DingTalk does not accept the one at hand. */
  async request<V>(request: AuthorisedRequest<V>): Promise<{ kind: "done"; value: V } | Failure> {
    for (let attempt = 1; ; attempt += 1) {
      const token = await this.#tokens.get(request.signal).catch(failureOfToken);
      if (typeof token !== "string") return token;
      const judged = await this.#once(request, token);
      if (judged.kind !== "token") return judged;
      this.#tokens.invalidate(token);
      this.#logger.info({ account: this.#account.name, attempt, detail: judged.detail }, "access token refused");
      if (attempt === 1) continue;
      return {
        kind: "retry",
        code: "dingtalk_bad_credentials",
        class: "peer-away",
        afterMs: REFUSED_AGAIN_MS,
        detail: `a fresh token too: ${judged.detail}`,
      };
    }
  }

  async #once<V>(
    { method, path, tokenIn = "header", query = {}, json, form, signal, judge }: AuthorisedRequest<V>,
    token: string,
  ): Promise<Judged<V>> {
    const search = new URLSearchParams({ ...query, ...(tokenIn === "query" && { access_token: token }) }).toString();
    const endpoint = path.replace(/^\/(v1\.0\/)?/, "");
    const endTimer = this.#metrics.sendSeconds.startTimer({ endpoint });
    const judged = await this.#call({
      method,
      url: `${this.#base}${path}${search === "" ? "" : `?${search}`}`,
      ...(tokenIn === "header" && { headers: { "x-acs-dingtalk-access-token": token } }),
      ...(form ? { form } : { json }),
      signal,
    }).then((answer) => judge(answer, [token, this.#account.appSecret]), failureOfCall);
    endTimer();
    this.#metrics.sends.inc({ account: this.#account.name, endpoint, code: resultCode(judged) });
    return judged;
  }
}

/** Without a token nothing was sent, and no fault of the message: it waits like in an outage. */
function failureOfToken(error: unknown): Failure {
  if (!(error instanceof TokenError)) return failureOfCall(error);
  return {
    kind: "retry",
    code: error.code,
    class: "peer-away",
    afterMs: Math.ceil(error.retryAfterMs),
    detail: error.message,
  };
}
