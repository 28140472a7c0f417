import { type Account, tokensOf } from "../domain/account.ts";
import { type Finding, fine } from "../domain/finding.ts";
import type { QuotaReport } from "../domain/quota-report.ts";
import { isDirectoryLocked } from "../ops/lock.ts";
import type { Health } from "../ops/service.ts";

const ANSWER_WITHIN_MS = 3_000;

/** What `GET /v1/status` says, as far as the doctor reads it. */
export interface BridgeStatus {
  accounts: (Health & { name: string; robotCode: string })[];
  queues: Record<"inbox" | "outbox", { deadLetters: number }>;
  quota: QuotaReport;
  gateway: { lastCallAt?: string | null };
}

/** Whether a bridge runs here, and what it says. */
export type Standing =
  | { kind: "none" }
  /** It has the data directory, and its API does not answer. */
  | { kind: "hidden" }
  /** Something else answers on the bridge's port. */
  | { kind: "stranger"; url: string }
  | {
      kind: "running";
      url: string;
      version: string;
      components: Record<string, Health>;
      /** By account; absent where the bridge refuses the account's token or does not know it. */
      statuses: ReadonlyMap<string, BridgeStatus>;
    };

export interface BridgeChecks {
  server: { host: string; port: number };
  dataDir: string;
  accounts: readonly Account[];
  sharedTokens: readonly string[];
  version: string;
}

/** Asks the bridge of this configuration. A wildcard address is asked at this machine. */
export async function lookAtBridge(options: BridgeChecks, signal: AbortSignal): Promise<Standing> {
  const { server, dataDir, accounts, sharedTokens } = options;
  const url = addressOf(server);
  const isLocked = isDirectoryLocked(dataDir) === true;
  const answer = url === undefined ? undefined : await get(`${url}/healthz`, signal);
  if (url === undefined || answer === undefined) return { kind: isLocked ? "hidden" : "none" };
  const { version, components } = answer.body ?? {};
  if (typeof version !== "string" || typeof components !== "object" || components === null)
    return isLocked ? { kind: "hidden" } : { kind: "stranger", url };
  const statuses = new Map<string, BridgeStatus>();
  for (const account of accounts) {
    const token = tokensOf(account, sharedTokens)[0] ?? "";
    const status = await get(`${url}/v1/status`, signal, token);
    const body = status?.status === 200 ? (status.body as unknown as BridgeStatus) : undefined;
    if (body?.accounts?.some(({ name }) => name === account.name)) statuses.set(account.name, body);
  }
  return { kind: "running", url, version, components: components as Record<string, Health>, statuses };
}

function addressOf({ host, port }: { host: string; port: number }): string | undefined {
  if (port === 0) return undefined;
  const name = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `http://${name.includes(":") ? `[${name}]` : name}:${port}`;
}

/** Undefined when nobody answers. */
async function get(
  url: string,
  signal: AbortSignal,
  token?: string,
): Promise<{ status: number; body: Record<string, unknown> | undefined } | undefined> {
  const headers = { connection: "close", ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
    const response = await fetch(url, { headers, redirect: "manual", signal: limit });
    const text = await response.text();
    try {
      const body: unknown = JSON.parse(text);
      const isObject = typeof body === "object" && body !== null;
      return { status: response.status, body: isObject ? (body as Record<string, unknown>) : undefined };
    } catch {
      return { status: response.status, body: undefined };
    }
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** Parts of the bridge that have checks of their own. */
const OWN_CHECK = /^(stream:.*|gateway|quota)$/;

/** The running bridge as a whole; its connections, gateway and quota have findings of their own. */
export function bridgeFindings(standing: Standing, { accounts, version, dataDir }: BridgeChecks): Finding[] {
  const found = (code: string, level: Finding["level"], text: string, mend?: string): Finding => ({
    check: "bridge",
    code,
    level,
    text,
    ...(mend !== undefined && { mend }),
  });
  switch (standing.kind) {
    case "none":
      return [fine("bridge", "none runs here; next: dingtalk-bridge start")];
    case "hidden": {
      const text = `a bridge uses ${dataDir}, and its API does not answer at the address of these settings`;
      const mend = "run the doctor with the settings of that bridge (in a container: docker compose exec bridge …)";
      return [found("bridge_unreachable", "warning", text, mend)];
    }
    case "stranger": {
      const text = `something else than a bridge answers at ${standing.url}`;
      return [found("port_taken", "error", text, "choose another BRIDGE_PORT, or stop what uses it")];
    }
    case "running": {
      const { url, statuses, components } = standing;
      const unknown = accounts.filter(({ name }) => !statuses.has(name)).map(({ name }) => name);
      const findings: Finding[] = [];
      if (unknown.length > 0) {
        const text = `the bridge at ${url} does not know ${unknown.join(", ")} with these credentials: its settings are others than these`;
        const mend = "restart it, so that it reads them; or run the doctor with its settings";
        findings.push(found("bridge_other", "warning", text, mend));
      }
      if (standing.version !== version) {
        const text = `the bridge at ${url} is version ${standing.version}, this is ${version}`;
        findings.push(found("bridge_version", "note", text, "restart it after an upgrade"));
      }
      for (const [name, { status, code, detail, mend }] of Object.entries(components)) {
        if (OWN_CHECK.test(name) || status === "ok" || status === "starting") continue;
        findings.push(
          found(code ?? status, status === "down" ? "error" : "warning", `${name}: ${detail ?? status}`, mend),
        );
      }
      return findings.length > 0 ? findings : [fine("bridge", `version ${version} runs at ${url}`)];
    }
  }
}

/** The connection of an account as the running bridge sees it. */
export function streamFinding(status: BridgeStatus, account: string): Finding {
  const {
    status: state,
    code,
    detail = "",
    mend,
  } = status.accounts.find(({ name }) => name === account) ?? {
    status: "starting" as const,
  };
  const base = { check: "stream" as const, account };
  if (state === "ok" && code === undefined) return fine("stream", "the running bridge is connected", { account });
  if (state === "starting")
    return { ...base, code: "skipped", level: "note", text: "the running bridge is just connecting" };
  return {
    ...base,
    code: code ?? state,
    level: state === "down" ? "error" : "warning",
    text: detail,
    ...(mend !== undefined && { mend }),
  };
}

/** Whether the gateway's side finds its way here with the right token. */
export function callsFinding(status: BridgeStatus, account: string): Finding {
  const { lastCallAt } = status.gateway;
  if (typeof lastCallAt === "string")
    return fine("gateway_calls", `the gateway called the bridge with the right token at ${lastCallAt}`, { account });
  return {
    check: "gateway_calls",
    code: "gateway_silent",
    level: "note",
    account,
    text: "the gateway has not called the bridge since the bridge was started",
    mend: "it does at its own start and with each answer; if answers do not come: bridgeUrl in channels.dingtalk has to be this bridge's address as the gateway reaches it",
  };
}

/** Messages that could not be delivered. */
export function deadLettersFinding({ queues }: BridgeStatus): Finding {
  const dead = queues.inbox.deadLetters + queues.outbox.deadLetters;
  if (dead === 0) return fine("dead_letters", "none");
  const text = `${dead} ${dead === 1 ? "message" : "messages"} could not be delivered`;
  return { check: "dead_letters", code: "dead_letters", level: "warning", text, mend: "dingtalk-bridge dead-letters" };
}
