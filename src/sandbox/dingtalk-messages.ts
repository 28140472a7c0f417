import type { ApiContext } from "./dingtalk-api.ts";
import { Ids } from "./dingtalk-ids.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import type { Media } from "./dingtalk-media.ts";
import { sampleDurationMs } from "./dingtalk-media-samples.ts";
import type { MediaKind, SaidFile, SaidMessage, SimulatedUser } from "./dingtalk-types.ts";
import type { App, Conversation } from "./dingtalk-world.ts";

type Body = Record<string, unknown>;

/** Kinds that DingTalk does not deliver in groups (dingtalk-protocol.md §2.2). */
export const directOnly: readonly string[] = ["audio", "video", "file"];

/** What every robot that a message reaches sees alike. */
export interface Utterance {
  msgId: string;
  createAt: number;
  sender: SimulatedUser;
  said: SaidMessage;
  /** Staff ids and robots that are @-ed. */
  mentioned: { users: SimulatedUser[]; apps: App[] };
}

/** Body of topic `/v1.0/im/bot/messages/get` as one robot gets it (dingtalk-protocol.md §2). */
export function messageBody(context: ApiContext, conversation: Conversation, utterance: Utterance): Body {
  const { world, knobs, media } = context;
  const { app } = conversation;
  const { sender, said } = utterance;
  const inGroup = conversation.kind === "group";
  const { session, expiresAt } = world.openSession(conversation);
  const staff = app.published && !sender.outsider;
  const body: Body = {
    senderPlatform: "Mac",
    conversationId: conversation.id,
    ...(inGroup ? { atUsers: atUsers(app, utterance) } : { openThreadId: conversation.id }),
    chatbotCorpId: app.corpId,
    chatbotUserId: Ids.opaque(app.robotCode, app.robotCode),
    msgId: utterance.msgId,
    senderNick: sender.name,
    ...(app.published ? { isAdmin: sender.admin === true } : {}),
    ...(staff ? { senderStaffId: sender.staffId } : {}),
    sessionWebhookExpiredTime: expiresAt,
    createAt: utterance.createAt,
    ...(sender.outsider ? {} : { senderCorpId: app.corpId }),
    conversationType: inGroup ? "2" : "1",
    senderId: Ids.opaque(app.robotCode, sender.staffId),
    ...(inGroup ? { conversationTitle: conversation.title, isInAtList: said.mention !== false } : {}),
    sessionWebhook: `${context.url().http}/robot/sendBySession?session=${session}`,
    ...(world.takeUnit(app) ? content(media, app, said, inGroup) : overQuota(knobs)),
    robotCode: app.robotCode,
    msgtype: said.msgtype ?? "text",
  };
  for (const [key, value] of Object.entries(said.payload ?? {})) {
    if (value === null) delete body[key];
    else body[key] = value;
  }
  return body;
}

function atUsers(app: App, { mentioned, said }: Utterance): Body[] {
  const robots = said.mention === false ? mentioned.apps.filter((other) => other !== app) : mentioned.apps;
  return [
    ...robots.map((robot) => ({ dingtalkId: Ids.opaque(app.robotCode, robot.robotCode) })),
    ...mentioned.users.map((user) => ({
      dingtalkId: Ids.opaque(app.robotCode, user.staffId),
      ...(user.outsider ? {} : { staffId: user.staffId }),
    })),
  ];
}

/** DOC-0699 and EV-0004 name the keys differently (dingtalk-protocol.md §2.10). */
function overQuota(knobs: SimulatorKnobs): Body {
  const code = knobs.quotaCodeType === "number" ? 20001 : "20001";
  const message = "受调用量超量影响，当前我的消息服务已经暂停。请联系你所在的组织管理员并予以处理";
  return knobs.quotaKeys === "errorCode"
    ? { errorCode: code, errorMessage: message }
    : { errCode: code, errMsg: message };
}

function content(media: Media, app: App, said: SaidMessage, inGroup: boolean): Body {
  const msgtype = said.msgtype ?? "text";
  if (msgtype === "text" && said.content === undefined) {
    // The client strips "@robot" and leaves the space behind it.
    return { text: { content: `${inGroup ? " " : ""}${said.text ?? ""}` } };
  }
  if (msgtype === "text") return { text: said.content };
  return { content: said.content ?? defaultContent(media, app, said) };
}

function defaultContent(media: Media, app: App, said: SaidMessage): unknown {
  const text = said.text ?? "";
  const files: readonly SaidFile[] = isList(said.file) ? said.file : said.file === undefined ? [] : [said.file];
  const code = (kind: MediaKind, fileName?: string): string => media.share(app, kind, files[0], fileName)();
  const picture = (file: SaidFile | undefined): Body => {
    const next = media.share(app, "picture", file);
    return { downloadCode: next(), pictureDownloadCode: next() };
  };
  switch (said.msgtype) {
    case "picture":
      return picture(files[0]);
    case "richText": {
      const pictures = files.length > 0 ? files.map(picture) : [picture(undefined)];
      return {
        richText: [{ text: text || "请看图：" }, ...pictures.map((p) => ({ type: "picture", ...p })), { text: "以上" }],
      };
    }
    case "audio":
      return { duration: sampleDurationMs, downloadCode: code("audio"), recognition: text || "钉钉，让进步发生" };
    case "video":
      return { duration: sampleDurationMs, videoType: "mp4", downloadCode: code("video") };
    case "file": {
      const fileName = text || "foobar.zip";
      return { spaceId: "22324235573", fileName, downloadCode: code("file", fileName), fileId: "117435846848" };
    }
    case "unknownMsgType":
      return { unknownMsgType: "用户发送了一条消息，机器人暂不支持接收。" };
    default:
      return {};
  }
}

const isList = (file: SaidMessage["file"]): file is readonly SaidFile[] => Array.isArray(file);
