import type { Conversation, Sender } from "../domain/envelope.ts";
import { compact, flagOf, idOf, isObject, listOf, stringOf, type JsonObject } from "./json.ts";

/** Stands for an id that DingTalk did not send; such a body never passes `readPush`. */
export const UNKNOWN_ID = "unknown";

/** DingTalk's code for "the month's quota is used up" (dingtalk-protocol.md §2.10). */
const OVER_QUOTA = "20001";

/** `conversationType` is documented as a string and compared loosely (dingtalk-protocol.md §2.1). */
function kindOf(body: JsonObject): Conversation["kind"] {
  const type = idOf(body.conversationType)?.trim();
  if (type !== undefined) return type === "1" ? "direct" : "group";
  // These three come with group messages only.
  const group = body.conversationTitle !== undefined || body.isInAtList !== undefined || body.atUsers !== undefined;
  return group ? "group" : "direct";
}

export function conversationOf(body: JsonObject): Conversation {
  return compact({
    kind: kindOf(body),
    id: idOf(body.conversationId) ?? UNKNOWN_ID,
    title: stringOf(body.conversationTitle),
  });
}

/** Who sent it. People outside the organisation, and everybody before the robot is published, have no staffId. */
export function senderOf(body: JsonObject): Sender {
  const staffId = idOf(body.senderStaffId);
  const dingtalkId = idOf(body.senderId);
  const unionId = idOf(body.senderUnionId);
  return compact({
    id: staffId ?? dingtalkId ?? unionId ?? UNKNOWN_ID,
    staffId,
    dingtalkId,
    unionId,
    name: stringOf(body.senderNick),
    corpId: idOf(body.senderCorpId),
    isAdmin: flagOf(body.isAdmin),
  });
}

/** The body that an over-quota push lacks, under any of the names that carry one. */
function hasBody(body: JsonObject): boolean {
  return [body.text, body.content, body.richText].some(
    (value) => isObject(value) || listOf(value) !== undefined || stringOf(value) !== undefined,
  );
}

/**
 * DingTalk's notice that the month's quota is used up, under the key names of both sources, as a number or a string
 * (dingtalk-protocol.md §2.10). Another code counts only where the message has no body.
 */
export function overQuotaOf(body: JsonObject): { code: string; message: string } | undefined {
  const code = idOf(body.errorCode, body.errCode)?.trim();
  if (code === undefined || code === "0") return undefined;
  if (code !== OVER_QUOTA && hasBody(body)) return undefined;
  return { code, message: stringOf(body.errorMessage, body.errMsg) ?? "" };
}
