import { isFilled, isObject, type ApiCall, type ApiContext } from "./dingtalk-api.ts";
import { oapiError, type ApiAnswer } from "./dingtalk-errors.ts";
import type { Shown } from "./dingtalk-params.ts";

/** Members that must be there, `member->field` as DingTalk's own messages write it. */
const required: Record<string, readonly string[]> = {
  text: ["text->content"],
  markdown: ["markdown->title", "markdown->text"],
  link: ["link->title", "link->text", "link->messageUrl"],
  actionCard: ["actionCard->title", "actionCard->text"],
  feedCard: ["feedCard->links"],
  empty: [],
};
/** Not displayed as far as documented; parsed when the knob `webhookMedia` says so. */
const media: Record<string, readonly string[]> = {
  file: ["file->mediaId"],
  video: ["video->mediaId"],
  voice: ["voice->mediaId"],
  image: ["image->picURL"],
};
const documentedAt = new Set(["atUserIds", "atMobiles", "isAtAll", "atDingtalkIds"]);

function missing(body: Record<string, unknown>, path: string): boolean {
  const [member = "", field = ""] = path.split("->");
  const part = body[member];
  const value = isObject(part) ? part[field] : undefined;
  return path === "feedCard->links" ? !Array.isArray(value) || value.length === 0 : !isFilled(value);
}

function missingButton(body: Record<string, unknown>): string | undefined {
  const card = body["actionCard"];
  if (!isObject(card)) return "actionCard";
  const buttons: unknown = card["btns"];
  if (Array.isArray(buttons) && buttons.length > 0) {
    const whole = buttons.every((b) => isObject(b) && isFilled(b["title"]) && isFilled(b["actionURL"]));
    return whole ? undefined : "actionCard->btns->actionURL";
  }
  if (!isFilled(card["singleTitle"])) return "actionCard->singleTitle";
  return isFilled(card["singleURL"]) ? undefined : "actionCard->singleURL";
}

const missParam = (path: string): ApiAnswer => oapiError(401102, `miss param : ${path}`);

/** The error of a webhook body, or what it says and whom it really @-s (dingtalk-protocol.md §3.2). */
export function judgeWebhookBody(
  body: Record<string, unknown>,
  context: Pick<ApiContext, "knobs" | "records" | "world">,
): ApiAnswer | { msgtype: string; shown: Shown; mentions: string[] } {
  const msgtype = body["msgtype"];
  if (!isFilled(msgtype)) return missParam("msgtype");
  const known = context.knobs.webhookMedia ? { ...required, ...media } : required;
  const paths = Object.hasOwn(known, msgtype) ? known[msgtype] : undefined;
  if (!paths) return oapiError(400105, "不支持的消息类型");
  const hole =
    paths.find((path) => missing(body, path)) ?? (msgtype === "actionCard" ? missingButton(body) : undefined);
  if (hole !== undefined) return missParam(hole);
  const part = body[msgtype];
  const member = isObject(part) ? part : {};
  const text = [member["content"], member["text"]].find((value) => typeof value === "string") ?? "";
  const title = member["title"];
  const mentions = mentionsOf(body, msgtype, text, context);
  return { msgtype, shown: { text, ...(typeof title === "string" ? { title } : {}) }, mentions };
}

/** An @ needs the id both in `at` and as `@id` in the text; link and feedCard cannot. At most 50. */
function mentionsOf(
  body: Record<string, unknown>,
  msgtype: string,
  text: string,
  { records }: Pick<ApiContext, "records">,
): string[] {
  const at = body["at"];
  if (!isObject(at)) return [];
  for (const key of Object.keys(at)) {
    if (!documentedAt.has(key)) records.problem(`sendBySession: at.${key} is not a documented key and has no effect`);
  }
  const ids = [at["atUserIds"], at["atMobiles"]].flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []));
  if (ids.length > 50) records.problem("sendBySession: more than 50 people @-ed");
  if (msgtype === "link" || msgtype === "feedCard") return [];
  const real = ids.filter((id): id is string => typeof id === "string" && text.includes(`@${id}`)).slice(0, 50);
  return at["isAtAll"] === true ? ["all", ...real] : real;
}

/** The body of a webhook call, or the answer to one that is none: wrong type, too long, not JSON. */
export function webhookBody(call: ApiCall, maxBytes: number): { read: Record<string, unknown> } | ApiAnswer {
  if (!call.headers["content-type"]?.includes("application/json")) {
    return oapiError(43004, "无效的HTTP HEADER Content-Type");
  }
  if (call.raw.length > maxBytes) {
    return oapiError(460101, `description: body 大小不合法;solution:请保持大小在 ${maxBytes}bytes 以内;`);
  }
  return call.json ? { read: call.json } : oapiError(40035, "不合法的参数");
}
