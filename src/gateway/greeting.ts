import type { Dispatcher } from "undici";
import { CONTRACT, CONTRACT_HEADER, CONTRACT_MEND } from "../domain/contract.ts";
import { BridgeError, coerceError } from "../domain/errors.ts";
import type { Health } from "../ops/service.ts";
import { PLUGIN_MEND, SERVICE_MEND, TOKEN_MEND, parseObject } from "./answers.ts";
import { callGateway } from "./http.ts";

export interface GreetingOptions {
  url: URL;
  account: { name: string; appKey: string };
  token: string;
  userAgent: string;
  dispatcher: Dispatcher;
  timeoutMs: number;
  /** Inside a container a refused loopback address has a mend of its own. */
  insideContainer: boolean;
  signal: AbortSignal;
}

/** What the gateway said to one account. */
export interface Greeting {
  /** `code` when it is not right: `gateway_*` and `plugin_missing`, `contract_version`, `gateway_token`, `account`. */
  health: Health;
  /** The plugin as it named itself, as soon as it did. */
  plugin?: { name: string; version: string; host: string };
  /** Who may write to the robot, as the plugin sees it. */
  dmPolicy?: string;
}

/**
 * Asks the gateway who it is: `GET {eventsPath}` with the account's token. Only JSON counts, because OpenClaw answers unknown paths
 * with a page of HTML and 200. Never throws.
 */
export async function askGateway(options: GreetingOptions): Promise<Greeting> {
  const { url, account, token, userAgent, dispatcher, timeoutMs, signal } = options;
  try {
    const answer = await callGateway({
      dispatcher,
      url,
      method: "GET",
      headers: {
        authorization: `Bearer ${token}`,
        accept: "application/json",
        [CONTRACT_HEADER]: String(CONTRACT),
        "user-agent": userAgent,
      },
      timeoutMs,
      signal,
    });
    const body = /json/i.test(answer.contentType) ? parseObject(answer.body) : undefined;
    if (answer.status === 401 || answer.status === 403) {
      return wrong("gateway_token", `the gateway refuses the token of account ${account.name}`, TOKEN_MEND);
    }
    if (answer.status >= 400 && body?.["code"] === "unsupported_version") {
      const detail = `the plugin refuses contract ${CONTRACT} of this bridge: ${word(body["detail"])}`;
      return wrong("contract_version", detail, CONTRACT_MEND);
    }
    if (answer.status >= 500)
      return wrong("gateway_unavailable", `the gateway answers ${answer.status}`, "wait, or look at the gateway's log");
    if (answer.status !== 200 || !body || body["contract"] === undefined) {
      return wrong("plugin_missing", `no channel plugin at ${url.pathname}`, PLUGIN_MEND);
    }
    return read(account, body);
  } catch (thrown) {
    return unreachable(coerceError(thrown), options);
  }
}

function read(account: { name: string; appKey: string }, body: Record<string, unknown>): Greeting {
  if (body["contract"] !== CONTRACT) {
    const theirs = JSON.stringify(body["contract"]);
    return wrong("contract_version", `the plugin speaks contract ${theirs}, this bridge ${CONTRACT}`, CONTRACT_MEND);
  }
  const plugin = { name: word(body["name"]), version: word(body["version"]), host: word(body["host"]) };
  const theirs = Array.isArray(body["accounts"]) ? (body["accounts"] as unknown[]) : [];
  const match = theirs.filter(isRecord).find((one) => one["appKey"] === account.appKey);
  if (!match) {
    const ids = theirs.filter(isRecord).map((one) => word(one["id"]));
    const detail = `the plugin has no account with the App Key of ${account.name} (it has: ${ids.join(", ") || "none"})`;
    const mend =
      "set the same App Key in channels.dingtalk of the gateway's openclaw.json; to check: dingtalk-bridge doctor";
    return { ...wrong("account", detail, mend), plugin };
  }
  if (match["enabled"] === false) {
    const mend = "set channels.dingtalk.enabled (or the account's enabled) to true";
    return { ...wrong("account", `account ${account.name} is disabled in the plugin`, mend), plugin };
  }
  return { health: { status: "ok" }, plugin, dmPolicy: word(match["dmPolicy"]) };
}

function unreachable(error: Error, { url, insideContainer }: GreetingOptions): Greeting {
  const code = error instanceof BridgeError ? error.code : "gateway_unreachable";
  const mend =
    insideContainer && /^(localhost|127\.|\[::1\])/.test(url.hostname)
      ? "start the gateway; if it runs outside this container, use network_mode: host or set BRIDGE_GATEWAY_URL to the host's name, because a loopback address is the container itself"
      : `start the gateway, or: ${SERVICE_MEND}`;
  return wrong(code, `${error.message} (${url.origin})`, mend);
}

const wrong = (code: string, detail: string, mend: string): Greeting => ({
  health: { status: "degraded", code, detail, mend },
});
const word = (value: unknown): string => (typeof value === "string" ? value.slice(0, 100) : "");
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
