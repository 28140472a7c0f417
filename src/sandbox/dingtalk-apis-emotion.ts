import { badRequest, isFilled, isObject, type ApiCall, type ApiContext, type ApiDefinition } from "./dingtalk-api.ts";
import { robotOf } from "./dingtalk-apis-send.ts";
import type { SimulatedReaction } from "./dingtalk-card-types.ts";
import { apiError, ok, type ApiAnswer } from "./dingtalk-errors.ts";

type Reaction = Pick<SimulatedReaction, "app" | "msgId" | "conversationId" | "name">;

/** Both calls carry the same; undocumented, as DingTalk's own clients send it (dingtalk-protocol.md §3.10). */
function read({ json, app }: ApiCall, context: ApiContext): { reaction: Reaction } | { refused: ApiAnswer } {
  if (!json || !app) return { refused: badRequest("invalidParameter.msgBody.invalid", "body必须是JSON") };
  const refused = robotOf(app, json["robotCode"], context);
  if (refused) return { refused };
  const { openMsgId: msgId, openConversationId: conversationId, emotionName: name, textEmotion } = json;
  const bad = (field: string): { refused: ApiAnswer } => ({
    refused: badRequest("invalidParameter.param.invalid", `参数不合法: ${field}`),
  });
  if (!isFilled(msgId)) return bad("openMsgId");
  if (!isFilled(conversationId)) return bad("openConversationId");
  if (json["emotionType"] !== 2) return bad("emotionType");
  if (!isFilled(name)) return bad("emotionName");
  if (!isObject(textEmotion) || textEmotion["emotionName"] !== name) return bad("textEmotion.emotionName");
  for (const field of ["emotionId", "text", "backgroundId"]) {
    if (!isFilled(textEmotion[field])) return bad(`textEmotion.${field}`);
  }
  const saidAt = context.reactions.saidAt(app.appKey, msgId);
  // Only what people say to the robot takes reactions: one of its own messages answers 500 too.
  if (saidAt === undefined || Date.now() - saidAt < context.knobs.emotionSettleMs) {
    return { refused: apiError(500, "system.err", "system error") };
  }
  return { reaction: { app: app.appKey, msgId, conversationId, name } };
}

const emotion =
  (action: "attach" | "recall") =>
  (call: ApiCall, context: ApiContext): ApiAnswer => {
    const asked = read(call, context);
    if ("refused" in asked) return asked.refused;
    call.record.conversationId = asked.reaction.conversationId;
    context.reactions[action](asked.reaction);
    return ok({ success: true });
  };

// The permission that it needs is UNKNOWN; the robot's normal ones suffice in the field.
const common = { method: "POST", host: "api", auth: "token", paid: true, limited: true } as const;

/** Reactions under people's messages (dingtalk-protocol.md §3.10). */
export const emotionApis: ApiDefinition[] = [
  { ...common, name: "emotion/reply", path: "/v1.0/robot/emotion/reply", handle: emotion("attach") },
  { ...common, name: "emotion/recall", path: "/v1.0/robot/emotion/recall", handle: emotion("recall") },
];
