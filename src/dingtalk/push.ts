import { conversationOf, overQuotaOf, senderOf } from "./identity.ts";
import { compact, idOf, isObject, stringOf, timeOf, withoutWebhook, type JsonObject } from "./json.ts";

/** Where a reply may go, and until when (epoch ms). A secret: who has the URL can speak for the robot. */
export interface SessionWebhook {
  url: string;
  expiresAt: number;
}

/** What the inbox needs of a robot message before it commits it (dingtalk-protocol.md §2.1). */
export interface Push {
  ok: true;
  /** The key against repeated pushes, together with the robot code. */
  msgId: string;
  robotCode?: string;
  conversationId: string;
  conversationKind: "direct" | "group";
  conversationTitle?: string;
  senderStaffId?: string;
  /** DingTalk's encrypted id, else the staffId, else `unknown`. */
  senderId: string;
  senderName?: string;
  webhook?: SessionWebhook;
  /** Epoch ms. */
  createdAt?: number;
  /** The month's quota is used up: the body is missing or worthless (dingtalk-protocol.md §2.10). */
  overQuota?: { code: string; message: string };
  /** The parsed body without `sessionWebhook` and `sessionWebhookExpiredTime`, safe to store and to stringify. */
  body: Record<string, unknown>;
}

/** `reason` names what is missing and repeats nothing of the data. */
export type PushRead = Push | { ok: false; reason: string };

export interface PushOptions {
  /** Origins besides DingTalk's that a session webhook may have: those of the configured API bases. */
  allowedOrigins?: readonly string[];
}

/** Every published sample expires 90 minutes after `createAt` (dingtalk-protocol.md §2.1). */
const WEBHOOK_LIFE_MS = 5_400_000;
const MAX_URL_LENGTH = 2_048;
const DINGTALK_HOST = /\.dingtalk\.(?:com|io)$/;

function originOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).origin : undefined;
}

/**
 * The URL as it was checked, if the bridge may POST to it: `https` on a DingTalk host and the default port, or one of the
 * configured origins. Everything else could point our own requests, answers included, at a stranger's machine.
 */
function trustedUrl(value: unknown, allowedOrigins: readonly string[]): string | undefined {
  const text = stringOf(value);
  if (text === undefined || text.length > MAX_URL_LENGTH || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") return undefined;
  const dingtalk = url.protocol === "https:" && url.port === "" && DINGTALK_HOST.test(url.hostname);
  const configured =
    (url.protocol === "https:" || url.protocol === "http:") &&
    allowedOrigins.some((origin) => originOf(origin) === url.origin);
  return dingtalk || configured ? url.href : undefined;
}

function webhookOf(body: JsonObject, allowedOrigins: readonly string[]): SessionWebhook | undefined {
  const url = trustedUrl(body.sessionWebhook, allowedOrigins);
  const createdAt = timeOf(body.createAt);
  const expiresAt =
    timeOf(body.sessionWebhookExpiredTime) ?? (createdAt === undefined ? undefined : createdAt + WEBHOOK_LIFE_MS);
  return url === undefined || expiresAt === undefined ? undefined : { url, expiresAt };
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

/**
 * Reads the `data` of a robot message frame as far as the commit needs it. Never throws. A push without `msgId` or
 * `conversationId` is not ok: it could be neither recognised when repeated nor put in order.
 */
export function readPush(data: string, options: PushOptions = {}): PushRead {
  const body = parse(data);
  if (body === undefined) return { ok: false, reason: "data is not JSON" };
  if (!isObject(body)) return { ok: false, reason: "data is not an object" };
  const msgId = idOf(body.msgId);
  if (msgId === undefined) return { ok: false, reason: "msgId is missing" };
  if (idOf(body.conversationId) === undefined) return { ok: false, reason: "conversationId is missing" };
  const conversation = conversationOf(body);
  const sender = senderOf(body);
  return compact({
    ok: true as const,
    msgId,
    robotCode: idOf(body.robotCode),
    conversationId: conversation.id,
    conversationKind: conversation.kind,
    conversationTitle: conversation.title,
    senderStaffId: sender.staffId,
    senderId: sender.dingtalkId ?? sender.id,
    senderName: sender.name,
    webhook: webhookOf(body, options.allowedOrigins ?? []),
    createdAt: timeOf(body.createAt),
    overQuota: overQuotaOf(body),
    body: withoutWebhook(body),
  });
}
