import type { ErrorCode } from "../domain/errors.ts";
import type { Outcome } from "../domain/outcome.ts";
import { type Rule, ruleOf, STATUS_RULES } from "./codes.ts";
import { CallError, type HttpAnswer } from "./http.ts";
import { isObject, type JsonObject } from "./json.ts";
import { quotePeer } from "./stream-failure.ts";

/** An outcome other than success. */
export type Failure = Exclude<Outcome, { kind: "delivered" | "held" }>;

/** What an answer means: done, a token to renew, or a failure. */
export type Judged<V> = { kind: "done"; value: V } | { kind: "token"; detail: string } | Failure;

/** Longest pause that a Retry-After header can ask for; DingTalk documents none (dingtalk-protocol.md §5.2). */
const MAX_RETRY_AFTER_MS = 10 * 60_000;
const FINE = new Set(["", "0", "200", "ok", "success"]);

/**
 * Judges any answer of `api` and `oapi` alike, by DingTalk's code, else by status. Never throws. `secrets` are cut out of what
 * is quoted. `done` means that nothing is complained about; what the body must hold is for the caller to look for.
 */
export function judge(answer: HttpAnswer, secrets: readonly string[] = []): Judged<JsonObject> {
  const body = answer.body.kind === "json" && isObject(answer.body.value) ? answer.body.value : undefined;
  const complaint = body === undefined ? undefined : complaintOf(body);
  if (body !== undefined && complaint === undefined && isSuccess(answer.status)) return { kind: "done", value: body };
  const rule = (complaint && ruleOfComplaint(complaint, answer.status)) ?? ruleOfStatus(answer, body !== undefined);
  const detail = detailOf(rule, answer, complaint, secrets);
  switch (rule.kind) {
    case "token":
      return { kind: "token", detail };
    case "retry": {
      const afterMs = laterOf(rule.afterMs, answer.headers["retry-after"]);
      const pause = afterMs === undefined ? {} : { afterMs };
      return { kind: "retry", code: rule.code, class: rule.class, ...pause, detail };
    }
    case "rejected":
    case "uncertain":
      return { kind: rule.kind, code: rule.code, detail };
  }
}

/**
 * Judges the answer to a send to one addressee through the Open API, where 200 does not mean delivered
 * (dingtalk-protocol.md §3.4, §3.5).
 *
 * A 200 without `processQueryKey` is rejected: every documented success has one, and in the field its absence meant that
 * nothing arrived and nobody knew. Trying again would not help, and would send twice should it have arrived after all, so a
 * person is to look at it.
 */
export function judgeSend(answer: HttpAnswer, secrets: readonly string[]): Judged<string> {
  const judged = judge(answer, secrets);
  if (judged.kind !== "done") return judged;
  const { invalidStaffIdList, flowControlledStaffIdList, processQueryKey } = judged.value;
  if (isFilled(invalidStaffIdList)) {
    const detail = withRequest("DingTalk knows no such person in the organisation (invalidStaffIdList)", answer);
    return { kind: "rejected", code: "recipient_unknown", detail };
  }
  if (isFilled(flowControlledStaffIdList)) {
    const detail = withRequest("too many messages to this person (flowControlledStaffIdList)", answer);
    return { kind: "retry", code: "recipient_throttled", class: "peer-away", afterMs: 60_000, detail };
  }
  if (typeof processQueryKey === "string" && processQueryKey !== "") return { kind: "done", value: processQueryKey };
  return unproven("processQueryKey", answer);
}

/** Judges the answer to a recall: a partial failure is a 200 with `failedResult: { key: reason }` (dingtalk-protocol.md §3.7). */
export function judgeRecall(answer: HttpAnswer, secrets: readonly string[], key: string): Judged<string> {
  const judged = judge(answer, secrets);
  if (judged.kind !== "done") return judged;
  const { successResult, failedResult } = judged.value;
  if (isObject(failedResult) && Object.hasOwn(failedResult, key)) {
    const reason = quotePeer(textOf(failedResult[key]), secrets);
    return { kind: "rejected", code: "not_cancellable", detail: withRequest(`not recalled: ${reason}`, answer) };
  }
  if (Array.isArray(successResult) && successResult.includes(key)) return { kind: "done", value: key };
  return unproven("successResult", answer);
}

/** Judges the answer to the question what became of a message, as to whether it was recalled (dingtalk-protocol.md §3.7). */
export function judgeRecalled(answer: HttpAnswer, secrets: readonly string[]): Judged<true> {
  const judged = judge(answer, secrets);
  if (judged.kind !== "done") return judged;
  const { sendStatus } = judged.value;
  if (sendStatus === "RECALLED") return { kind: "done", value: true };
  const detail = withRequest(`its state is ${quotePeer(textOf(sendStatus), secrets)}`, answer);
  return { kind: "rejected", code: "not_cancellable", detail };
}

/**
 * Judges the answer to the exchange of a download code (dingtalk-protocol.md §3.9). The URL is in `downloadUrl`, as one client
 * reads it in `data.downloadUrl`. A code of another robot will never be exchanged, just as one that has expired.
 */
export function judgeDownload(answer: HttpAnswer, secrets: readonly string[]): Judged<string> {
  const judged = judge(answer, secrets);
  const body = answer.body.kind === "json" && isObject(answer.body.value) ? answer.body.value : {};
  if (judged.kind === "rejected" && body["code"] === "invalidParameter.robotCode.auth") {
    return { ...judged, code: "media_expired" };
  }
  if (judged.kind !== "done") return judged;
  const data = isObject(body["data"]) ? body["data"] : body;
  const url = [body["downloadUrl"], data["downloadUrl"]].find((value) => typeof value === "string" && value !== "");
  if (typeof url === "string" && /^https?:$/.test(URL.parse(url)?.protocol ?? "")) return { kind: "done", value: url };
  // Asking again does no harm.
  return { kind: "retry", class: "entry", code: "dingtalk_bad_answer", detail: withRequest("no downloadUrl", answer) };
}

/** Judges the answer to an upload (dingtalk-protocol.md §3.8). */
export function judgeUpload(answer: HttpAnswer, secrets: readonly string[]): Judged<string> {
  const judged = judge(answer, secrets);
  // HTTP's own 413.
  if (judged.kind === "rejected" && judged.code === "message_too_long") return { ...judged, code: "media_too_large" };
  if (judged.kind !== "done") return judged;
  const { media_id: mediaId } = judged.value;
  if (typeof mediaId === "string" && mediaId !== "") return { kind: "done", value: mediaId };
  return { kind: "retry", class: "entry", code: "dingtalk_bad_answer", detail: withRequest("no media_id", answer) };
}

/** Judges the answer of a session webhook. `errcode` is a number, in one published sample a string (dingtalk-protocol.md §3.2). */
export function judgeWebhook(
  answer: HttpAnswer,
  secrets: readonly string[],
): Exclude<Judged<undefined>, { kind: "token" }> {
  const judged = judge(answer, secrets);
  // A webhook carries no token: one that asks for a token takes no message, and the Open API may.
  if (judged.kind === "token") return { kind: "rejected", code: "webhook_expired", detail: judged.detail };
  if (judged.kind !== "done") return judged;
  if (textOf(judged.value["errcode"]) === "0") return { kind: "done", value: undefined };
  return unproven("errcode", answer);
}

/** A 200 that lacks what proves success. */
export function unproven(missing: string, answer: HttpAnswer): Failure {
  const detail = withRequest(`DingTalk answered without ${missing}: nothing shows that the message was taken`, answer);
  return { kind: "rejected", code: "dingtalk_bad_answer", detail };
}

/** No answer: surely without effect it is tried again, else it is uncertain. @throws what is not a CallError, again */
export function failureOfCall(error: unknown): Failure {
  if (!(error instanceof CallError)) throw error;
  const { code, message: detail } = error;
  if (error.sent) return { kind: "uncertain", code, detail };
  return { kind: "retry", code, class: code === "internal" ? "entry" : "peer-away", detail };
}

/** The code of a result for metrics. */
export function resultCode(result: { kind: string; code?: ErrorCode }): string {
  return result.code ?? (result.kind === "token" ? "dingtalk_bad_credentials" : "ok");
}

interface Complaint {
  code: string;
  message: string;
  scopes: readonly string[];
}

/**
 * What a body complains about, if anything: `code` of the new API, `errcode` of the old one (a string or a number),
 * `success: false`, an undelivered `deliverResults` entry, or the IP block's `status: 1111`.
 */
function complaintOf(body: JsonObject): Complaint | undefined {
  const message = textOf(body["message"] ?? body["errmsg"] ?? body["errorMsg"] ?? body["errorMessage"]);
  const scopes = scopesOf(body["accessdenieddetail"]);
  if (textOf(body["status"]) === "1111") return { code: "1111", message, scopes };
  const code = [body["errcode"], body["code"], body["errorCode"]]
    .map(textOf)
    .find((text) => !FINE.has(text.toLowerCase()));
  if (code !== undefined) {
    const sub = textOf(body["sub_code"]);
    const said = [message, textOf(body["sub_msg"])].filter((text) => text !== "").join("; ");
    return { code: code === "88" && sub !== "" ? (ruleOf(sub) ? sub : "88.auth") : code, message: said, scopes };
  }
  if (textOf(body["success"]).toLowerCase() === "false") return { code: "", message, scopes };
  return undelivered(body);
}

/** Card APIs name each space they delivered to (dingtalk-protocol.md §4.2). */
function undelivered(body: JsonObject): Complaint | undefined {
  const result = isObject(body["result"]) ? body["result"] : body;
  const spaces: unknown = result["deliverResults"];
  if (!Array.isArray(spaces)) return undefined;
  for (const space of spaces as unknown[]) {
    if (!isObject(space) || textOf(space["success"]).toLowerCase() !== "false") continue;
    return { code: textOf(space["errorCode"]), message: textOf(space["errorMsg"]), scopes: [] };
  }
  return undefined;
}

function ruleOfComplaint({ code }: Complaint, status: number): Rule | undefined {
  const rule = ruleOf(code);
  if (rule === undefined) return isSuccess(status) ? STATUS_RULES.unknown : undefined;
  // Codes come with several statuses (`system.busy` with 429 and 500, `unauthorized` with 400 and 401). These four statuses
  // say more than any code but one that asks to wait for something else.
  const waits = rule.kind === "retry" && rule.class === "peer-away";
  if (status === 401 || status === 429) return waits ? rule : undefined;
  if (status === 503) return waits || rule.kind === "uncertain" ? rule : undefined;
  return status === 504 ? undefined : rule;
}

function ruleOfStatus({ status, body }: HttpAnswer, isJson: boolean): Rule {
  if (status === 401) return STATUS_RULES.unauthorized;
  if (status === 413) return STATUS_RULES.tooLarge;
  if (status === 429) return STATUS_RULES.throttled;
  if (status === 503) return STATUS_RULES.unavailable;
  if (status === 504) return STATUS_RULES.gatewayTimeout;
  if (status >= 500) return STATUS_RULES.serverError;
  if (body.kind === "html" && (status === 200 || status === 403)) return STATUS_RULES.blockPage;
  if (isSuccess(status)) return STATUS_RULES.unreadable;
  // A refusal whose body broke off is DingTalk's, with a code that nobody will know.
  return isJson || body.kind === "incomplete" ? STATUS_RULES.unknown : STATUS_RULES.stranger;
}

function detailOf(
  rule: Rule,
  answer: HttpAnswer,
  complaint: Complaint | undefined,
  secrets: readonly string[],
): string {
  const { code = "", message = "", scopes = [] } = complaint ?? {};
  const scope = scopes.length > 0 ? `${rule.says}; required: ${scopes.join(", ")}` : rule.says;
  const form = answer.body.kind === "json" ? "" : ` with ${FORMS[answer.body.kind]}`;
  const said = [code, message].filter((text) => text !== "").join(": ");
  return withRequest(
    `${quotePeer(scope, secrets, 500)}; DingTalk: ${answer.status}${form}${said === "" ? "" : ` ${quotePeer(said, secrets)}`}`,
    answer,
  );
}

const FORMS = { html: "an HTML page", other: "a body that is not JSON", incomplete: "a body that broke off" } as const;

function withRequest(text: string, { requestId }: HttpAnswer): string {
  return requestId === undefined ? text : `${text} (request ${quotePeer(requestId, [], 100)})`;
}

function laterOf(afterMs: number | undefined, retryAfter: string | undefined): number | undefined {
  if (retryAfter === undefined || !/^\d{1,6}$/.test(retryAfter)) return afterMs;
  return Math.max(afterMs ?? 0, Math.min(Number(retryAfter) * 1_000, MAX_RETRY_AFTER_MS));
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300;
const isFilled = (list: unknown): boolean => Array.isArray(list) && list.length > 0;

function textOf(value: unknown): string {
  if (typeof value === "string") return value.trim();
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

function scopesOf(detail: unknown): string[] {
  const scopes = isObject(detail) ? detail["requiredScopes"] : undefined;
  return Array.isArray(scopes) ? scopes.filter((scope) => typeof scope === "string").slice(0, 10) : [];
}
