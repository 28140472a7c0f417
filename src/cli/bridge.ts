import type { Config } from "../app.ts";
import { tokensOf } from "../domain/account.ts";
import { CommandError } from "./command.ts";

/** An answer of the bridge's API. */
export interface ApiAnswer {
  status: number;
  /** Parsed JSON; null where there was none. */
  body: unknown;
}

export interface ApiCall {
  method?: "GET" | "POST" | "DELETE";
  /** JSON, or a form. */
  body?: object | FormData;
  headers?: Record<string, string>;
  /** How long it may take. Default 10 s. */
  withinMs?: number;
}

/** Somebody who may ask: one account by its derived token, or all accounts by BRIDGE_TOKEN. */
export interface Caller {
  /** Undefined: all of them. */
  account: string | undefined;
  token: string;
}

const WITHIN_MS = 10_000;

/** The API of the bridge that runs with the same settings, on this machine or where `server.host` says. */
export class BridgeApi {
  readonly url: string;
  readonly #config: Config;
  readonly #signal: AbortSignal;

  constructor(config: Config, signal: AbortSignal) {
    this.#config = config;
    this.#signal = signal;
    this.url = urlOf(config) ?? "";
  }

  /** One that speaks for all accounts, or one for each: a derived token sees its own account only. */
  callers(account?: string): Caller[] {
    const [shared] = this.#config.tokens;
    if (shared !== undefined) return [{ account, token: shared }];
    const enabled = this.#config.accounts.filter(({ enabled }) => enabled);
    const meant = account === undefined ? enabled : enabled.filter(({ name }) => name === account);
    if (meant.length === 0) {
      const names = enabled.map(({ name }) => name).join(", ");
      throw new CommandError(`there is no enabled account ${JSON.stringify(account)}`, {
        mend: `name one of ${names}`,
      });
    }
    // A bridgeToken that several accounts share speaks for all of them.
    const byToken = new Map(meant.toReversed().map((one) => [tokensOf(one, [])[0] ?? "", one.name]));
    return [...byToken].toReversed().map(([token, name]) => ({ account: name, token }));
  }

  /** Throws CommandError when no bridge answers, or refuses the token; any other answer is the caller's to read. */
  async call(path: string, { token }: Caller, call: ApiCall = {}): Promise<ApiAnswer> {
    if (this.url === "") throw this.#nobody("BRIDGE_PORT is 0, so its port is not known");
    const { method = "GET", body, headers = {}, withinMs = WITHIN_MS } = call;
    const isForm = body instanceof FormData;
    let answer: ApiAnswer;
    try {
      const response = await fetch(`${this.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          connection: "close",
          ...(body && !isForm && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body && { body: isForm ? body : JSON.stringify(body) }),
        signal: AbortSignal.any([this.#signal, AbortSignal.timeout(withinMs)]),
      });
      answer = { status: response.status, body: parsed(await response.text()) };
    } catch (error) {
      if (this.#signal.aborted) throw error;
      throw this.#nobody(whyNot(error, withinMs), error);
    }
    if (answer.status === 401) {
      throw new CommandError(`the bridge at ${this.url} does not know the token of these settings`, {
        mend: "use the settings that it was started with: the same App Secret, BRIDGE_TOKEN and --config",
      });
    }
    return answer;
  }

  /** As `call`, for what has to succeed: throws CommandError with what the bridge said. */
  async must(path: string, caller: Caller, call: ApiCall = {}): Promise<unknown> {
    const { status, body } = await this.call(path, caller, call);
    if (status < 400) return body;
    throw this.refusal(status, body);
  }

  /** What the bridge said no with, as a sentence and a mend. */
  refusal(status: number, body: unknown): CommandError {
    const { code, detail, mend } = (body ?? {}) as { code?: unknown; detail?: unknown; mend?: unknown };
    if (typeof code !== "string" || typeof detail !== "string") {
      return new CommandError(`${this.url} answered ${status}, and is no dingtalk-bridge`, {
        mend: "check BRIDGE_HOST and BRIDGE_PORT, or --port",
      });
    }
    return new CommandError(`${detail} (${code})`, { mend: typeof mend === "string" ? mend : undefined });
  }

  #nobody(why: string, cause?: unknown): CommandError {
    const at = this.url === "" ? "" : ` at ${this.url}`;
    return new BridgeAway(`no bridge answers${at}: ${why}`, {
      cause,
      mend: "start it: dingtalk-bridge start (just started, it takes some seconds); or name its port: --port 8790",
    });
  }
}

/** No bridge answers: some commands then read the data directory themselves. */
export class BridgeAway extends CommandError {}

/** Undefined when the bridge takes any free port. */
function urlOf({ server: { host, port } }: Config): string | undefined {
  if (port === 0) return undefined;
  const name = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `http://${name.includes(":") ? `[${name}]` : name}:${port}`;
}

function whyNot(error: unknown, withinMs: number): string {
  if (!(error instanceof Error)) return "unknown reason";
  if (error.name === "TimeoutError") return `no answer within ${withinMs / 1_000} s`;
  const { code } = (error.cause ?? {}) as { code?: string };
  return code === "ECONNREFUSED" ? "connection refused" : (code ?? error.message);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
