import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome, Receipt } from "../domain/outcome.ts";

/** What came back from one request to the gateway. */
export interface GatewayAnswer {
  status: number;
  contentType: string;
  /** `Retry-After` in milliseconds, when it was given. */
  retryAfterMs: number | undefined;
  body: string;
}

/** Contract codes that say "this envelope will never be taken" (design §5). */
const FINAL_CODES: ReadonlySet<string> = new Set<ErrorCode>(["invalid_envelope", "unsupported_version", "rejected"]);

/** One account is not set up at the gateway: its messages wait, those of others go on. */
const ACCOUNT_CODES: ReadonlySet<string> = new Set(["account_unknown", "account_disabled", "account_forbidden"]);
const ACCOUNT_RETRY_MS = 30_000;

const HELD_DEFAULT_MS = 15_000;
const LONGEST_WAIT_MS = 5 * 60_000;

/** A wrong set-up: not the message's fault, so everything is kept while an operator mends it. */
export interface WrongSetup {
  detail: string;
  mend: string;
}

/** Reads an answer to `POST {eventsPath}`. `wrongSetup` comes with every 4xx that is not of the contract. */
export function readAnswer(answer: GatewayAnswer, at: number): { outcome: Outcome; wrongSetup?: WrongSetup } {
  const { status, retryAfterMs } = answer;
  const wait = retryAfterMs === undefined ? {} : { afterMs: Math.min(retryAfterMs, LONGEST_WAIT_MS) };

  if (status === 202) return { outcome: { kind: "held", afterMs: wait.afterMs ?? HELD_DEFAULT_MS } };
  if (status === 409)
    return { outcome: { kind: "delivered", receipt: { ...decisionOf(answer), route: "gateway", at } } };
  if (status >= 200 && status < 300) {
    // A page of HTML with 200 is another service on that port (OpenClaw's own UI answers unknown paths so).
    if (/html/i.test(answer.contentType)) return noPlugin();
    return { outcome: { kind: "delivered", receipt: { ...decisionOf(answer), route: "gateway", at } } };
  }
  if (status === 429 || status >= 500) {
    const detail = `the gateway answered ${status}`;
    // 429 and 503 say "later"; another 5xx may be this message's own doing, so it counts while the gateway serves others.
    const blame = status === 429 || status === 503 ? "peer-away" : "entry";
    return { outcome: { kind: "retry", code: "gateway_unavailable", class: blame, detail, ...wait } };
  }
  if (status >= 400) {
    const problem = problemOf(answer);
    if (problem?.code !== undefined && FINAL_CODES.has(problem.code)) {
      return { outcome: { kind: "rejected", code: problem.code as ErrorCode, detail: problem.detail } };
    }
    if (problem?.code !== undefined && ACCOUNT_CODES.has(problem.code)) {
      return {
        outcome: {
          kind: "retry",
          code: "account_unknown",
          class: "peer-away",
          afterMs: ACCOUNT_RETRY_MS,
          detail: `the plugin: ${problem.code} ${problem.detail}`.trimEnd(),
        },
      };
    }
    if (status === 401 || status === 403) {
      return misconfigured(`the gateway refused the token (${status})`, TOKEN_MEND);
    }
    if (status === 404 || status === 405) return noPlugin();
    const said = problem?.code === undefined ? "" : `: ${problem.code} ${problem.detail}`.trimEnd();
    return misconfigured(`the gateway answered ${status}${said}`, SERVICE_MEND);
  }
  return misconfigured(`the gateway answered ${status}, which the contract does not know`, SERVICE_MEND);
}

export const PLUGIN_MEND =
  'install it with: openclaw plugins install --force "$(dingtalk-bridge plugin-path)", then restart the gateway';
export const TOKEN_MEND =
  "give both sides the same App Key and App Secret, or the same BRIDGE_TOKEN (plugin setting: bridgeToken); to check: dingtalk-bridge doctor";
export const SERVICE_MEND = "check BRIDGE_GATEWAY_URL: it must be the address of the OpenClaw gateway";

function noPlugin(): { outcome: Outcome; wrongSetup: WrongSetup } {
  return misconfigured("no channel plugin answers at the gateway's events path", PLUGIN_MEND);
}

function misconfigured(detail: string, mend: string): { outcome: Outcome; wrongSetup: WrongSetup } {
  return {
    outcome: { kind: "retry", code: "gateway_misconfigured", class: "peer-away", detail },
    wrongSetup: { detail, mend },
  };
}

function decisionOf({ body }: GatewayAnswer): Pick<Receipt, "decision" | "reason" | "runId"> {
  const parsed = parseObject(body);
  const picked: Pick<Receipt, "decision" | "reason" | "runId"> = {};
  for (const key of ["decision", "reason", "runId"] as const) {
    const value = parsed?.[key];
    if (typeof value === "string") picked[key] = value.slice(0, 500);
  }
  return picked;
}

function problemOf(answer: GatewayAnswer): { code: string | undefined; detail: string } | undefined {
  if (!/^application\/problem\+json/i.test(answer.contentType)) return undefined;
  const parsed = parseObject(answer.body);
  if (!parsed) return undefined;
  const { code, detail, title } = parsed;
  return {
    code: typeof code === "string" ? code : undefined,
    detail: (typeof detail === "string" ? detail : typeof title === "string" ? title : "").slice(0, 1_000),
  };
}

export function parseObject(body: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
