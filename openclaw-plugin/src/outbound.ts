import { randomUUID } from "node:crypto";
import type { ChannelPlugin, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Account, CHANNEL, type Environment, isConfigured, resolveAccount } from "./accounts.ts";
import { type Content, type MessageState, type Sending, sendAndWait } from "./bridge-client.ts";
import { type Bridge, BridgeRefusal, type Log, type Traffic } from "./bridge-http.ts";
import { type FileToSend, fileContent } from "./files-out.ts";
import { NotSent, deadLetter, notSent, orHostError } from "./not-sent.ts";
import { noCredentials, sentence } from "./probe.ts";
import type { Reply } from "./reply.ts";
import type { Run } from "./run.ts";
import { normalizeTarget, targetProblem } from "./targets.ts";
import { contentOf } from "./text.ts";

type Outbound = NonNullable<ChannelPlugin["outbound"]>;
type Send = NonNullable<Outbound["sendText"]>;
type SendContext = Parameters<Send>[0];
type Sent = Awaited<ReturnType<Send>>;

/** A person waits at a prompt: what cannot be handed over by then is told. Milliseconds, the other seconds. */
const PATIENCE_AT_PROMPT_MS = 8_000;
const WAIT_AT_PROMPT_S = 10;
/** An agent's tool or a job waits: long enough for DingTalk's refusal, not for its limits. */
const WAIT_S = 5;

export interface OutboundOptions {
  env: Environment;
  userAgent: string;
  log: Log;
  /** Undefined before OpenClaw has given it. */
  runtime: () => PluginRuntime | undefined;
  /** Undefined where the account does not run: in a command at a prompt, not in the gateway. */
  traffic: (accountId: string) => Traffic | undefined;
  /** The run that answers a message which had waited in OpenClaw's queue, by the envelope's id. */
  answering?: (envelopeId: string) => Run | undefined;
  /** How long a command at a prompt tries to reach the bridge. */
  patienceAtPromptMs?: number;
}

/**
 * What the `message` tool, `openclaw message send`, cron, heartbeats and resumed turns send. It waits a little for DingTalk's word, so
 * that whoever sends hears of a refusal; what is not decided by then counts as sent, for the bridge keeps and repeats it. Nobody waits
 * for the answer of a turn.
 */
export function createOutbound(options: OutboundOptions): Outbound {
  const { env, userAgent, log, runtime, traffic, answering, patienceAtPromptMs = PATIENCE_AT_PROMPT_MS } = options;
  const sendAs = async (context: SendContext, run: Run | undefined): Promise<Sent> => {
    const account = resolveAccount(context.cfg, context.accountId, env);
    const running = traffic(account.accountId);
    const bridge: Bridge = {
      account,
      userAgent,
      log,
      signal: context.signal,
      traffic: running,
      ...(!running && { patienceMs: patienceAtPromptMs }),
    };
    try {
      if (!isConfigured(account)) throw new NotSent(sentence(noCredentials(account)));
      const to = normalizeTarget(context.to);
      if (to === undefined) throw new NotSent(targetProblem(context.to));
      // The answer to a message that had waited ends what was shown of it.
      const reply = run?.reply.to === to ? run.replyWith(context.text) : undefined;
      const shown = await reply?.finish(context.text.trim());
      if (shown !== undefined && !context.mediaUrl) return { channel: CHANNEL, messageId: shown };
      const content = await contentFor(bridge, shown === undefined ? context : { ...context, text: "" }, runtime());
      const answers = inReplyTo(account, reply ? { replyToId: reply.inReplyTo } : context);
      const sending = { message: { to, content, ...answers, ...reply?.mentions }, key: keyOf(context, reply) };
      const waitS = reply ? undefined : running ? WAIT_S : WAIT_AT_PROMPT_S;
      const state = await sendOnce(bridge, sending, context, waitS);
      if (state.status === "dead" || state.status === "cancelled") throw deadLetter(to, state);
      if (!reply && state.status !== "delivered") (await logFor(running, log)).warn(pending(to, state));
      return receiptOf(state);
    } catch (error) {
      throw await orHostError(await notSent(bridge, error), { isAtPrompt: !running });
    }
  };
  const send: Send = (context) => {
    const run = answering?.(context.replyToId ?? "");
    const sent = sendAs(context, run);
    return run?.settling.during(sent) ?? sent;
  };
  return {
    deliveryMode: "direct",
    // The bridge splits long texts itself, for every route it may choose.
    chunker: null,
    resolveTarget: ({ to }) => {
      const target = normalizeTarget(to ?? "");
      return target === undefined
        ? { ok: false, error: new Error(`dingtalk: ${targetProblem(to)}`) }
        : { ok: true, to: target };
    },
    sendText: send,
    sendMedia: send,
  };
}

/** A command at a prompt has no gateway's log: what OpenClaw's own parts say goes to the terminal there. */
async function logFor(running: Traffic | undefined, log: Log): Promise<Pick<Log, "warn">> {
  if (running) return log;
  try {
    const { createSubsystemLogger } = await import("openclaw/plugin-sdk/logging-core");
    return createSubsystemLogger(CHANNEL);
  } catch {
    return log;
  }
}

/** A file of the context with its words, or the words alone. Throws when the file cannot be sent: the sender hears of it. */
async function contentFor(bridge: Bridge, context: SendContext, runtime: PluginRuntime | undefined): Promise<Content> {
  const { text, mediaUrl, forceDocument } = context;
  if (!mediaUrl) return contentOf(text);
  if (!runtime) throw new Error("OpenClaw has not given the plugin its runtime");
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

/** OpenClaw's own queue repeats a send after a crash with the same id. */
function keyOf({ deliveryQueueId, deliveryPartIndex = 0 }: SendContext, reply: Reply | undefined): string {
  if (deliveryQueueId) return `${deliveryQueueId}/${deliveryPartIndex}`;
  return reply?.nextKey() ?? `openclaw/${randomUUID()}/0`;
}

async function sendOnce(
  bridge: Bridge,
  sending: Sending,
  { deliveryQueueId }: SendContext,
  waitS: number | undefined,
): Promise<MessageState> {
  try {
    return await sendAndWait(bridge, sending, waitS);
  } catch (error) {
    // Taken before the crash: the file was uploaded again since, so the body names another one.
    const isRepeat = deliveryQueueId && error instanceof BridgeRefusal && error.code === "idempotency_key_reused";
    if (isRepeat) return { id: sending.key, status: "queued", uncertain: false, receipts: [], delivered: 0 };
    throw error;
  }
}

/** What OpenClaw shows of a sent message, with `--json` in full: the bridge's id, and DingTalk's own where there are some. */
function receiptOf({ id, status, receipts, error }: MessageState): Sent {
  const detail = error && { detail: `${error.code}: ${error.detail}` };
  return { channel: CHANNEL, messageId: id, meta: { status, ...(receipts.length > 0 && { receipts }), ...detail } };
}

function pending(to: string, { id, status, error }: MessageState): string {
  const why = error ? ` (${error.code}: ${error.detail})` : "";
  return `dingtalk: the bridge has taken message ${id} to ${to} but not delivered it yet: ${status}${why}; it goes on by itself`;
}

/** OpenClaw's message ids are envelope ids; DingTalk's own are taken as well. Another id means nothing to the bridge. */
function inReplyTo({ bridgeAccount }: Account, { replyToId }: Pick<SendContext, "replyToId">): { inReplyTo?: string } {
  const id = replyToId?.trim() ?? "";
  if (id.startsWith(`${bridgeAccount}:`)) return { inReplyTo: id };
  return /^msg\S+$/.test(id) ? { inReplyTo: `${bridgeAccount}:${id}` } : {};
}
