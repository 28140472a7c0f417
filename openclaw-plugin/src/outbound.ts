import { randomUUID } from "node:crypto";
import type { ChannelPlugin, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Account, CHANNEL, type Environment, isConfigured, resolveAccount } from "./accounts.ts";
import { type Content, sendMessage } from "./bridge-client.ts";
import { type Bridge, BridgeRefusal, type Log } from "./bridge-http.ts";
import { type FileToSend, fileContent } from "./files-out.ts";
import type { Reply } from "./reply.ts";
import type { Run } from "./run.ts";
import { contentOf } from "./text.ts";

type Outbound = NonNullable<ChannelPlugin["outbound"]>;
type Send = NonNullable<Outbound["sendText"]>;
type SendContext = Parameters<Send>[0];

export interface OutboundOptions {
  env: Environment;
  userAgent: string;
  log: Log;
  /** Undefined before OpenClaw has given it. */
  runtime: () => PluginRuntime | undefined;
  /** The run that answers a message which had waited in OpenClaw's queue, by the envelope's id. */
  answering?: (envelopeId: string) => Run | undefined;
}

/** What the `message` tool, cron and resumed turns send: the same calls to the bridge as a turn's own answer. */
export function createOutbound({ env, userAgent, log, runtime, answering }: OutboundOptions): Outbound {
  const send: Send = async (context) => {
    const account = resolveAccount(context.cfg, context.accountId, env);
    if (!isConfigured(account)) throw new Error(`dingtalk: account ${account.accountId} has no App Key and App Secret`);
    const to = normalizeTarget(context.to);
    if (to === undefined) throw new Error(`dingtalk: ${JSON.stringify(context.to)} is no target: ${TARGET_HINT}`);
    const bridge: Bridge = { account, userAgent, log, signal: context.signal };
    // The answer to a message that had waited ends what was shown of it.
    const run = answering?.(context.replyToId ?? "");
    const reply = run?.reply.to === to ? run.replyWith(context.text) : undefined;
    const shown = await reply?.finish(context.text.trim());
    if (shown !== undefined && !context.mediaUrl) return { channel: CHANNEL, messageId: shown };
    const content = await contentFor(bridge, shown === undefined ? context : { ...context, text: "" }, runtime());
    const message = { to, content, ...inReplyTo(account, reply?.inReplyTo ?? context.replyToId), ...reply?.mentions };
    return { channel: CHANNEL, messageId: await sendOnce(bridge, message, context, reply) };
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

/** A file of the context with its words, or the words alone. Throws when the file cannot be sent: the sender hears of it. */
async function contentFor(bridge: Bridge, context: SendContext, runtime: PluginRuntime | undefined): Promise<Content> {
  const { text, mediaUrl, forceDocument } = context;
  if (!mediaUrl) return contentOf(text);
  if (!runtime) throw new Error("dingtalk: OpenClaw has not given the plugin its runtime");
  const load = fileLoader(runtime, bridge.account, context);
  const file = await fileContent(bridge, { source: mediaUrl, load, asDocument: forceDocument });
  return text.trim() === "" ? file : { ...file, caption: text.trim() };
}

type Access = Pick<SendContext, "mediaAccess" | "mediaLocalRoots" | "mediaReadFile">;

/**
 * OpenClaw's own loading of local files, within the folders that it allows for this send; without `access` those that hold what OpenClaw
 * itself has put there. Pictures are left as they are.
 */
export function fileLoader(
  runtime: PluginRuntime,
  { mediaMaxBytes }: Account,
  { mediaAccess, mediaLocalRoots, mediaReadFile }: Access = {},
): FileToSend["load"] {
  const localRoots = mediaAccess?.localRoots ?? mediaLocalRoots;
  const readFile = mediaAccess?.readFile ?? mediaReadFile;
  const workspaceDir = mediaAccess?.workspaceDir;
  return async (source) =>
    await runtime.media.loadWebMedia(source, {
      maxBytes: mediaMaxBytes,
      optimizeImages: false,
      ...(localRoots && localRoots.length > 0 && { localRoots }),
      // OpenClaw wants folders named when it lends its own reader.
      ...(readFile && localRoots && localRoots.length > 0 && { readFile, hostReadCapability: true }),
      ...(workspaceDir !== undefined && { workspaceDir }),
    });
}

async function sendOnce(
  bridge: Bridge,
  message: Parameters<typeof sendMessage>[1]["message"],
  { deliveryQueueId: queueId, deliveryPartIndex = 0 }: SendContext,
  reply: Reply | undefined,
): Promise<string> {
  // OpenClaw's own queue repeats a send after a crash with the same id.
  const key = queueId ? `${queueId}/${deliveryPartIndex}` : (reply?.nextKey() ?? `openclaw/${randomUUID()}/0`);
  try {
    return await sendMessage(bridge, { message, key });
  } catch (error) {
    // Taken before the crash: the file was uploaded again since, so the body names another one.
    const isRepeat = queueId && error instanceof BridgeRefusal && error.code === "idempotency_key_reused";
    if (isRepeat) return key;
    throw error;
  }
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
