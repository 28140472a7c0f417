import { createChannelPairingController } from "openclaw/plugin-sdk/channel-pairing";
import {
  type ResolvedChannelMessageIngress,
  resolveStableChannelMessageIngress,
} from "openclaw/plugin-sdk/channel-ingress-runtime";
import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Account, CHANNEL } from "./accounts.ts";
import type { MessageEnvelope } from "./types.ts";

/** Whether this message may start a turn, as OpenClaw decided it. */
export type Access =
  | { kind: "allowed"; ingress: ResolvedChannelMessageIngress; commandAuthorized: boolean }
  | { kind: "denied"; reason: string }
  | { kind: "skipped"; reason: string }
  | { kind: "pairing"; reason: string };

export interface AccessQuestion {
  cfg: OpenClawConfig;
  runtime: PluginRuntime;
  account: Account;
  envelope: MessageEnvelope;
  /** The message asks to stop, by a word that is no command otherwise. */
  stops?: boolean;
  /** The route the turn would take: OpenClaw binds its answer to it. */
  route: { agentId: string; sessionKey: string };
}

/** Asks OpenClaw's own resolver, so that policies, pairing, access groups and command rights work as in any channel. */
export async function decideAccess({
  cfg,
  runtime,
  account,
  envelope,
  stops = false,
  route,
}: AccessQuestion): Promise<Access> {
  const { conversation, sender, text } = envelope.message;
  const group = conversation.kind === "group";
  const ingress = await resolveStableChannelMessageIngress({
    channelId: CHANNEL,
    accountId: account.accountId,
    cfg,
    identity: {
      key: "staffId",
      entryIdPrefix: "dingtalk",
      sensitivity: "pii",
      authentication: "verified",
      normalize: bareId,
      aliases: [
        { key: "dingtalkId", normalize: bareId, authentication: "verified", sensitivity: "pii" },
        // A group may be allowed by its conversation id.
        { key: "conversationId", normalize: bareId, authentication: "verified" },
      ],
    },
    subject: {
      stableId: sender.id,
      aliases: { dingtalkId: sender.dingtalkId ?? null, conversationId: group ? conversation.id : null },
    },
    conversation: { kind: conversation.kind, id: conversation.id },
    contextBinding: { ...route, messageId: envelope.id, inboundEventKind: "user_request" },
    event: { kind: "message", authMode: "inbound", mayPair: !group },
    dmPolicy: account.dmPolicy,
    groupPolicy: account.groupPolicy,
    allowFrom: account.allowFrom,
    groupAllowFrom: account.groupAllowFrom,
    // The list for direct messages may be `*` by default; it must never open a group that has a list of its own.
    groupAllowFromFallbackToAllowFrom: false,
    readStoreAllowFrom: () => pairing(runtime, account).readAllowFromStore(),
    command:
      stops || runtime.channel.text.hasControlCommand(text, cfg)
        ? { allowTextCommands: true, hasControlCommand: true }
        : false,
  });
  const { senderAccess, commandAccess, activationAccess } = ingress;
  if (senderAccess.decision === "pairing") return { kind: "pairing", reason: senderAccess.reasonCode };
  if (!senderAccess.allowed) return { kind: "denied", reason: senderAccess.reasonCode };
  if (commandAccess.shouldBlockControlCommand) return { kind: "denied", reason: commandAccess.reasonCode };
  if (activationAccess.shouldSkip) return { kind: "skipped", reason: activationAccess.reasonCode };
  if (ingress.ingress.admission !== "dispatch") return { kind: "denied", reason: ingress.ingress.reasonCode };
  return { kind: "allowed", ingress, commandAuthorized: commandAccess.authorized };
}

/**
 * Issues a pairing code, which `openclaw pairing approve dingtalk <CODE>` accepts. `reply` sends it to the person.
 * Nothing is said while an earlier code is still waiting.
 */
export async function askForPairing(
  { runtime, account, envelope }: Pick<AccessQuestion, "runtime" | "account" | "envelope">,
  reply: (text: string) => Promise<void>,
): Promise<void> {
  const { sender } = envelope.message;
  const failures: unknown[] = [];
  await pairing(runtime, account).issueChallenge({
    senderId: sender.id,
    senderIdLine: `Your DingTalk user id: ${sender.id}`,
    meta: { name: sender.name },
    sendPairingReply: reply,
    onReplyError: (error) => failures.push(error),
  });
  if (failures.length > 0) throw failures[0];
}

const pairing = (runtime: PluginRuntime, account: Account): ReturnType<typeof createChannelPairingController> =>
  createChannelPairingController({ core: runtime, channel: CHANNEL, accountId: account.accountId });

/** `user:staff001`, `conversation:cid…` or the bare id. Ids are case-sensitive, so nothing is folded. */
function bareId(value: string): string {
  return value.trim().replace(/^(?:dingtalk:)?(?:user:|conversation:|group:)?/, "");
}
