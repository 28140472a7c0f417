import { type Account, CHANNEL, isConfigured } from "./accounts.ts";
import { type Json, authorization, readJson, reasonOf, shownUrl, withTimeout } from "./bridge-http.ts";
import { contractMismatch } from "./contract.ts";

/** One thing that is wrong between OpenClaw and DingTalk. */
export interface BridgeProblem {
  code:
    | "credentials"
    | "away"
    | "url"
    | "not_bridge"
    | "token"
    | "contract"
    | "account"
    | "starting"
    | "dingtalk"
    | "gateway";
  /** OpenClaw's word for what has to be mended. */
  kind: "auth" | "config" | "runtime";
  /** A sentence without its full stop. */
  message: string;
  /** What to do about it, as the next command where there is one. */
  mend?: string;
}

export interface BridgeReport {
  /** OpenClaw shows it as "works" or "probe failed". */
  ok: boolean;
  state: "connected" | "degraded" | "unreachable";
  /** The bridge's. */
  version?: string;
  problems: BridgeProblem[];
  /** All problems in words; OpenClaw shows it as the reason. */
  error?: string;
}

export interface ProbeOptions {
  account: Account;
  userAgent: string;
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
}

const TIMEOUT_MS = 5_000;

/** Asks the bridge how it is. Throws only when `signal` fires. */
export async function probeBridge(options: ProbeOptions): Promise<BridgeReport> {
  const { account, userAgent, signal, timeoutMs = TIMEOUT_MS } = options;
  if (!isConfigured(account)) return reportOf("unreachable", [noCredentials(account)]);
  try {
    const response = await fetch(`${account.bridgeUrl}/v1/status`, {
      headers: authorization(account, userAgent),
      redirect: "manual",
      signal: withTimeout(signal, timeoutMs),
    });
    return readStatus(account, response, await readJson(response));
  } catch (error) {
    signal?.throwIfAborted();
    return reportOf("unreachable", [unreachable(account, reasonOf(error))]);
  }
}

/** A problem with its mend, as one line. */
export const sentence = ({ message, mend }: BridgeProblem): string =>
  mend === undefined ? message : `${message}; ${mend}`;

export function reportOf(state: BridgeReport["state"], problems: BridgeProblem[], version?: string): BridgeReport {
  return {
    ok: state === "connected",
    state,
    problems,
    ...(version !== undefined && { version }),
    ...(problems.length > 0 && { error: problems.map(sentence).join("; ") }),
  };
}

/** What was kept of a report as `unknown`, by OpenClaw's status. */
export function asReport(value: unknown): BridgeReport | undefined {
  const isReport = isObject(value) && typeof value["state"] === "string" && Array.isArray(value["problems"]);
  return isReport ? (value as unknown as BridgeReport) : undefined;
}

/** For `openclaw channels capabilities`. */
export function describeProbe(value: unknown): { text: string; tone: "success" | "warn" | "error" }[] {
  const report = asReport(value);
  if (!report) return [];
  const { ok, version, problems } = report;
  const bridge = version === undefined ? "Bridge" : `Bridge ${version}`;
  if (ok) return [{ text: `${bridge}: connected`, tone: "success" }];
  return problems.map((problem) => ({ text: `${bridge}: ${sentence(problem)}`, tone: "error" }));
}

export function noCredentials({ accountId }: Pick<Account, "accountId">): BridgeProblem {
  return {
    code: "credentials",
    kind: "auth",
    message: `account ${accountId} has no App Key and App Secret`,
    mend: `run "openclaw channels add --channel ${CHANNEL}", or set appKey and appSecret in channels.${CHANNEL}`,
  };
}

function readStatus(account: Account, response: Response, body: Json | undefined): BridgeReport {
  const problem = refusal(account, response, body);
  const version = isObject(body) && response.ok ? word(body["version"]) : undefined;
  // Who refuses a token or a contract is there.
  const isThere = problem?.code === "token" || problem?.code === "contract";
  if (problem) return reportOf(isThere ? "degraded" : "unreachable", [problem], version);
  const problems = [dingtalkProblem(account, body ?? {}), gatewayProblem(body ?? {})].filter(
    (one) => one !== undefined,
  );
  return reportOf(problems.length > 0 ? "degraded" : "connected", problems, version);
}

/** Why the answer is not one to work with. */
function refusal(account: Account, response: Response, body: Json | undefined): BridgeProblem | undefined {
  const at = `at ${shownUrl(account)}`;
  const type = response.headers.get("content-type") ?? "";
  const code = /^application\/problem\+json/i.test(type) ? word(body?.["code"]) : undefined;
  const mismatch = contractMismatch(response.headers.get("x-bridge-contract"));
  if (mismatch || code === "unsupported_version") {
    const detail =
      mismatch?.detail ?? (word(body?.["detail"]) || "the bridge speaks another contract than this plugin");
    const mend = mismatch?.mend ?? "install bridge and plugin of the same release";
    return { code: "contract", kind: "config", message: detail, mend };
  }
  if (code !== undefined && (response.status === 401 || response.status === 403)) {
    return {
      code: "token",
      kind: "auth",
      message: `the bridge ${at} refuses the token of account ${account.accountId}`,
      mend:
        `give both sides the same App Key and App Secret, or the bridge's BRIDGE_TOKEN as channels.${CHANNEL}.bridgeToken ` +
        '("npx dingtalk-bridge token" prints what the bridge takes)',
    };
  }
  if (response.ok && isObject(body) && Array.isArray(body["accounts"])) return undefined;
  const path = URL.parse(account.bridgeUrl)?.pathname ?? "/";
  if (code !== undefined && response.status === 404 && path !== "/") {
    return {
      code: "url",
      kind: "config",
      message: `bridgeUrl has a path (${path}) where the bridge has none`,
      mend: setUrl(URL.parse(account.bridgeUrl)?.origin ?? ""),
    };
  }
  if (code !== undefined || (response.status === 503 && body)) {
    const said = `HTTP ${response.status}${code === undefined ? "" : ` ${code}`}`;
    return { code: "away", kind: "runtime", message: `the bridge ${at} answers ${said}`, mend: "look at its log" };
  }
  const what = /html/i.test(type) ? "a web page" : `HTTP ${response.status}`;
  return {
    code: "not_bridge",
    kind: "config",
    message: `what answers ${at} is not dingtalk-bridge (${what})`,
    mend: `set channels.${CHANNEL}.bridgeUrl to the bridge's own address; its port is BRIDGE_PORT, 8790 when unset`,
  };
}

function unreachable(account: Account, reason: string): BridgeProblem {
  const url = URL.parse(account.bridgeUrl);
  const at = shownUrl(account);
  if (!url || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    const message = `bridgeUrl ${JSON.stringify(at)} is not of the form http://<host>:<port>`;
    return { code: "url", kind: "config", message, mend: setUrl("http://127.0.0.1:8790") };
  }
  if (url.protocol === "https:" && /SSL|EPROTO|TLS/i.test(reason)) {
    const message = `bridgeUrl says https, but no TLS is spoken at ${at} (${reason})`;
    return { code: "url", kind: "config", message, mend: setUrl(account.bridgeUrl.replace(/^https/i, "http")) };
  }
  if (/ENOTFOUND|EAI_AGAIN/.test(reason)) {
    const message = `the host of bridgeUrl, ${url.hostname}, is not known (${reason})`;
    return { code: "away", kind: "config", message, mend: setUrl("http://127.0.0.1:8790") };
  }
  return {
    code: "away",
    kind: "runtime",
    message: `no bridge answers at ${at} (${reason})`,
    mend: 'start it with "npx dingtalk-bridge start"',
  };
}

const setUrl = (url: string): string => `run "openclaw config set channels.${CHANNEL}.bridgeUrl ${url}"`;

function dingtalkProblem({ bridgeAccount, appKey }: Account, body: Json): BridgeProblem | undefined {
  const accounts = (body["accounts"] as unknown[]).filter(isObject);
  const mine = accounts.find(({ name }) => name === bridgeAccount);
  if (!mine) {
    const other = accounts.find(({ robotCode }) => robotCode === appKey)?.["name"];
    const names = accounts.map(({ name }) => word(name)).join(", ") || "none";
    return {
      code: "account",
      kind: "config",
      message: `the bridge has no account ${bridgeAccount} (it has: ${names})`,
      mend:
        typeof other === "string"
          ? `call the account ${other} here, too: channels.${CHANNEL}.accounts.${other}`
          : `add the robot to the bridge's configuration as ${bridgeAccount}, or call both the same`,
    };
  }
  const { status, code, detail, mend } = mine;
  if (status === "ok") return undefined;
  if (status === "starting")
    return { code: "starting", kind: "runtime", message: "the bridge is connecting to DingTalk" };
  const why = word(detail) || word(code) || word(status);
  return {
    code: "dingtalk",
    kind: code === "stream_bad_credentials" ? "auth" : "runtime",
    message: `the bridge is ${status === "degraded" ? "connected to DingTalk, but" : "not connected to DingTalk"}: ${why}`,
    mend: word(mend) || "look at the bridge's log",
  };
}

/** The bridge's own view of this gateway: without it nothing comes in. */
function gatewayProblem(body: Json): BridgeProblem | undefined {
  const gateway = body["gateway"];
  if (!isObject(gateway) || (gateway["status"] !== "degraded" && gateway["status"] !== "down")) return undefined;
  return {
    code: "gateway",
    kind: gateway["code"] === "account" || gateway["code"] === "gateway_token" ? "config" : "runtime",
    message: `the bridge cannot bring messages to OpenClaw: ${word(gateway["detail"]) || word(gateway["code"])}`,
    mend: word(gateway["mend"]) || "look at the bridge's log",
  };
}

const word = (value: unknown): string => (typeof value === "string" ? value.slice(0, 500) : "");
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
