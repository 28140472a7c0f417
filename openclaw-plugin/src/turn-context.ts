import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import type { Access } from "./access.ts";
import { CHANNEL } from "./accounts.ts";
import type { ReceivedFiles } from "./files-in.ts";
import { quotedText, textForAgent } from "./text.ts";
import type { MessageEnvelope } from "./types.ts";

export type Route = ReturnType<PluginRuntime["channel"]["routing"]["resolveAgentRoute"]>;
export type Allowed = Extract<Access, { kind: "allowed" }>;

export interface ContextInput {
  cfg: OpenClawConfig;
  runtime: PluginRuntime;
  accountId: string;
  envelope: MessageEnvelope;
  route: Route;
  access: Allowed;
  files: ReceivedFiles;
  /** Epoch milliseconds. */
  timestamp: number | undefined;
}

/** The message as OpenClaw's agents see it. */
export function contextOf({ cfg, runtime, accountId, envelope, route, access, files, timestamp }: ContextInput) {
  const { id, message, replyTo } = envelope;
  const { conversation, sender } = message;
  const group = conversation.kind === "group";
  const body = textForAgent(message, files.missing);
  const isCommand = message.text.startsWith("/") && runtime.channel.text.hasControlCommand(message.text, cfg);
  return runtime.channel.inbound.buildContext({
    channel: CHANNEL,
    accountId,
    messageId: id,
    from: `${CHANNEL}:${group ? replyTo : `user:${sender.id}`}`,
    sender: { id: sender.id, ...(sender.name !== undefined && { name: sender.name }) },
    conversation: {
      kind: conversation.kind,
      id: group ? conversation.id : sender.id,
      ...labelOf(group ? conversation.title : sender.name),
    },
    route: {
      agentId: route.agentId,
      accountId: route.accountId,
      routeSessionKey: route.sessionKey,
      dispatchSessionKey: route.sessionKey,
      mainSessionKey: route.mainSessionKey,
      ...(route.dmScope && { dmScope: route.dmScope }),
    },
    reply: { to: replyTo, originatingTo: replyTo },
    message: { rawBody: message.text, body, bodyForAgent: body, commandBody: message.text },
    media: files.media,
    access: {
      commands: { authorized: access.commandAuthorized },
      ...(group && { mentions: { canDetectMention: true, wasMentioned: message.mentioned } }),
    },
    channelIngress: access.ingress,
    // Named as one, a command such as /status or /approve is served beside a run that is going on.
    ...(isCommand && { command: { kind: "text-slash" as const, authorized: access.commandAuthorized } }),
    ...(timestamp !== undefined && { timestamp }),
    ...quoteOf(message.quote, files),
  });
}

function quoteOf(quote: MessageEnvelope["message"]["quote"], { quoted, missing }: ReceivedFiles) {
  const body = quotedText(quote, missing);
  if (body === undefined) return {};
  return {
    supplemental: {
      quote: {
        body,
        isQuote: true,
        ...(quote?.messageId !== undefined && { id: quote.messageId }),
        ...(quote?.sender !== undefined && { sender: quote.sender }),
        ...(quoted.length > 0 && { media: quoted }),
      },
    },
  };
}

const labelOf = (label: string | undefined): { label?: string } => (label === undefined ? {} : { label });
