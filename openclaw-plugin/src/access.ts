import {
  type ResolvedChannelMessageIngress,
  resolveStableChannelMessageIngress,
} from "openclaw/plugin-sdk/channel-ingress-runtime";
import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Account, CHANNEL } from "./accounts.ts";
import { senderOf } from "./allowlist.ts";
import { commandSenders } from "./command-senders.ts";
import { type GroupAdmission, admitGroup } from "./groups.ts";
import { pairingOf } from "./pairing.ts";
import type { MessageEnvelope } from "./types.ts";

/** Whether this message may start a turn, as OpenClaw decided it. */
export type Access =
  | { kind: "allowed"; ingress: ResolvedChannelMessageIngress; commandAuthorized: boolean; reason: string }
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
export async function decideAccess(question: AccessQuestion): Promise<Access> {
  const { cfg, runtime, account, envelope, stops = false, route } = question;
  const { conversation, mentioned, text } = envelope.message;
  const group = conversation.kind === "group" ? admitGroup(account, conversation.id) : undefined;
  if (group?.enabled === false) return { kind: "denied", reason: "group_disabled" };
  const isCommand = stops || runtime.channel.text.hasControlCommand(text, cfg);
  const commandAuthorized = await mayCommand(question, { isCommand, group });
  const ingress = await resolveStableChannelMessageIngress({
    ...subjectOf(question),
    contextBinding: { ...route, messageId: envelope.id, inboundEventKind: "user_request" },
    event: { kind: "message", authMode: "inbound", mayPair: !group },
    dmPolicy: account.dmPolicy,
    groupPolicy: group?.policy ?? "disabled",
    allowFrom: account.allowFrom,
    groupAllowFrom: group?.senders ?? [],
    policy: {
      // The list for direct messages may be `*` by default; it must never open a group that has a list of its own.
      groupAllowFromFallbackToAllowFrom: false,
      ...(group && {
        activation: {
          requireMention: group.requireMention && !(isCommand && commandAuthorized),
          allowTextCommands: true,
        },
      }),
    },
    ...(group && { mentionFacts: { canDetectMention: true, wasMentioned: mentioned } }),
    readStoreAllowFrom: () => pairingOf(runtime, account).readAllowFromStore(),
    command: false,
  });
  const { senderAccess, activationAccess } = ingress;
  if (senderAccess.decision === "pairing") return { kind: "pairing", reason: senderAccess.reasonCode };
  if (!senderAccess.allowed) return { kind: "denied", reason: senderAccess.reasonCode };
  if (isCommand && !commandAuthorized) return { kind: "denied", reason: "control_command_unauthorized" };
  if (activationAccess.shouldSkip) return { kind: "skipped", reason: activationAccess.reasonCode };
  if (ingress.ingress.admission !== "dispatch") return { kind: "denied", reason: ingress.ingress.reasonCode };
  return { kind: "allowed", ingress, commandAuthorized, reason: senderAccess.reasonCode };
}

/** Whether OpenClaw would obey this person; it says nothing of whether the person is let in. */
async function mayCommand(
  question: AccessQuestion,
  { isCommand, group }: { isCommand: boolean; group: GroupAdmission | undefined },
): Promise<boolean> {
  const { cfg, account, envelope } = question;
  const { text } = envelope.message;
  const listed = group ? [...account.allowFrom, ...group.senders] : [];
  const senders = commandSenders({ cfg, text, isCommand, isGroup: group !== undefined, listed });
  if (senders === "everybody") return true;
  const { commandAccess } = await resolveStableChannelMessageIngress({
    ...subjectOf(question),
    event: { kind: "message", authMode: "command", mayPair: false },
    dmPolicy: "allowlist",
    groupPolicy: "allowlist",
    allowFrom: [],
    groupAllowFrom: [],
    command: { allowTextCommands: true, hasControlCommand: isCommand, commandOwnerAllowFrom: senders },
  });
  return commandAccess.authorized;
}

/** Who wrote, where, and how an entry of a list is compared with that: as it is written, and a conversation is never a person. */
function subjectOf({ cfg, account, envelope }: AccessQuestion) {
  const { conversation, sender } = envelope.message;
  const field = {
    normalizeEntry: senderOf,
    normalizeSubject: (id: string): string => id,
    authentication: "verified",
    sensitivity: "pii",
  } as const;
  return {
    channelId: CHANNEL,
    accountId: account.accountId,
    cfg,
    identity: {
      key: "staffId",
      entryIdPrefix: "dingtalk",
      ...field,
      aliases: [{ key: "dingtalkId", ...field }],
    },
    subject: { stableId: sender.id, aliases: { dingtalkId: sender.dingtalkId ?? null } },
    conversation: { kind: conversation.kind, id: conversation.id },
  };
}
