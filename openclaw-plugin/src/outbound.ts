import { randomUUID } from "node:crypto";
import type { ChannelPlugin } from "openclaw/plugin-sdk/channel-core";
import { type Account, CHANNEL, type Environment, isConfigured, resolveAccount } from "./accounts.ts";
import { type Log, sendMessage } from "./bridge-client.ts";
import { contentOf, replyText } from "./text.ts";

type Outbound = NonNullable<ChannelPlugin["outbound"]>;
type Send = NonNullable<Outbound["sendText"]>;

export interface OutboundOptions {
  env: Environment;
  userAgent: string;
  log: Log;
}

/** What the `message` tool, cron and resumed turns send: the same call to the bridge as a turn's own answer. */
export function createOutbound({ env, userAgent, log }: OutboundOptions): Outbound {
  const send: Send = async (context) => {
    const account = resolveAccount(context.cfg, context.accountId, env);
    if (!isConfigured(account)) throw new Error(`dingtalk: account ${account.accountId} has no App Key and App Secret`);
    const to = normalizeTarget(context.to);
    if (to === undefined) throw new Error(`dingtalk: ${JSON.stringify(context.to)} is no target: ${TARGET_HINT}`);
    const text = replyText(context);
    const messageId = await sendMessage({
      account,
      message: { to, content: contentOf(text), ...inReplyTo(account, context.replyToId) },
      // OpenClaw's own queue repeats a send after a crash with the same id.
      key: context.deliveryQueueId
        ? `${context.deliveryQueueId}/${context.deliveryPartIndex ?? 0}`
        : `openclaw/${randomUUID()}/0`,
      userAgent,
      log,
      signal: context.signal,
    });
    return { channel: CHANNEL, messageId };
  };
  return {
    deliveryMode: "direct",
    // The bridge splits long texts itself, for every route it may choose.
    chunker: null,
    resolveTarget: ({ to }) => {
      const target = normalizeTarget(to ?? "");
      return target === undefined
        ? { ok: false, error: new Error(`dingtalk: ${TARGET_HINT}`) }
        : { ok: true, to: target };
    },
    sendText: send,
    sendMedia: send,
  };
}

export const TARGET_HINT = "user:<staffId> or conversation:<conversationId>";

/** `user:<staffId>` or `conversation:<id>`. A bare id is a conversation when it looks like one. Case is kept: ids differ by it. */
export function normalizeTarget(raw: string): string | undefined {
  const target = raw.trim().replace(/^dingtalk:/i, "");
  const [, kind, id] = /^(?:(user|conversation|group|channel):)?(\S+)$/i.exec(target) ?? [];
  if (!id || (!kind && id.endsWith(":"))) return undefined;
  if (!kind) return `${id.startsWith("cid") ? "conversation" : "user"}:${id}`;
  return `${kind.toLowerCase() === "user" ? "user" : "conversation"}:${id}`;
}

/** OpenClaw's message ids are envelope ids; another id means nothing to the bridge. */
function inReplyTo(account: Account, replyToId: string | null | undefined): { inReplyTo?: string } {
  return replyToId?.startsWith(`${account.bridgeAccount}:`) ? { inReplyTo: replyToId } : {};
}
