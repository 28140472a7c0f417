import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Access, askForPairing, decideAccess } from "./access.ts";
import { type Account, CHANNEL, type Environment, resolveAccount } from "./accounts.ts";
import { type Log, sendMessage } from "./bridge-client.ts";
import type { Delivery } from "./hub.ts";
import type { Entry } from "./ledger.ts";
import type { Mailbox } from "./mailbox.ts";
import { contentOf, quotedText, replyText, textForAgent } from "./text.ts";
import type { MessageEnvelope } from "./types.ts";

export interface TurnsContext {
  runtime: PluginRuntime;
  /** As it is now: a policy that was tightened holds for the next message, not only when the channel has restarted. */
  config: () => OpenClawConfig;
  accountId: string;
  env: Environment;
  userAgent: string;
  log: Log;
}

/** What one turn was decided by and is answered with. */
interface TurnContext extends Omit<TurnsContext, "config"> {
  cfg: OpenClawConfig;
  account: Account;
}

/** Words that stop a running answer: they must not wait for it. */
const STOP = /^\/(?:stop|abort)\b/i;

/**
 * Takes envelopes out of the mailbox until it is closed. Messages of one conversation are handed to OpenClaw one after
 * another, each when OpenClaw has said where the one before it stands; conversations do not wait for one another.
 */
export async function runTurns(context: TurnsContext, mailbox: Mailbox<Delivery>, signal: AbortSignal): Promise<void> {
  const last = new Map<string, Entry>();
  for await (const delivery of mailbox) {
    const { entry, envelope } = delivery;
    const conversation = envelope.message.conversation.id;
    const before = STOP.test(envelope.message.text) ? undefined : last.get(conversation);
    last.set(conversation, entry);
    const turn = async (): Promise<void> => {
      await before?.first;
      if (signal.aborted) entry.note({ kind: "failed", reason: "the channel stopped" });
      else await runTurn(context, delivery);
      if (last.get(conversation) === entry) last.delete(conversation);
    };
    // Owned by its entry: whatever happens to the turn ends in `note`, and the bridge hears of it.
    void turn();
  }
}

/** One message: decide who may speak, dispatch, and note how far it came. Never rejects. */
async function runTurn(turns: TurnsContext, { envelope, entry }: Delivery): Promise<void> {
  try {
    const cfg = turns.config();
    const context = { ...turns, cfg, account: resolveAccount(cfg, turns.accountId, turns.env) };
    const { conversation, sender } = envelope.message;
    const route = context.runtime.channel.routing.resolveAgentRoute({
      cfg,
      channel: CHANNEL,
      accountId: context.accountId,
      peer: { kind: conversation.kind, id: conversation.kind === "group" ? conversation.id : sender.id },
    });
    const access = await decideAccess({ ...context, envelope, route });
    if (access.kind !== "allowed") return await turnAway(context, access, { envelope, entry });
    const turn = new Turn(context, { envelope, entry });
    await turn.dispatch(route, access);
    // A command that OpenClaw answers by itself, or a message it knew already, has no turn to adopt.
    if (!entry.standing) entry.note({ kind: "taken", decision: { decision: "accepted" } });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    turns.log.error(`dingtalk: the turn of message ${envelope.id} failed: ${reason}`);
    entry.note({ kind: "failed", reason });
  }
}

async function turnAway(
  context: TurnContext,
  access: Exclude<Access, { kind: "allowed" }>,
  { envelope, entry }: Delivery,
): Promise<void> {
  if (access.kind === "pairing") {
    await askForPairing({ ...context, envelope }, async (text) => {
      await sendMessage({ ...context, message: replyTo(envelope, text), key: `${envelope.id}/pairing/0` });
    });
  }
  const decision = access.kind === "skipped" ? "skipped" : "denied";
  context.log.info(`dingtalk: message ${envelope.id} ${decision}: ${access.reason}`);
  entry.note({ kind: "taken", decision: { decision, reason: `${decision}: ${access.reason}` } });
}

const replyTo = (envelope: MessageEnvelope, text: string) => ({
  to: envelope.replyTo,
  inReplyTo: envelope.id,
  content: contentOf(text),
});

type Route = ReturnType<PluginRuntime["channel"]["routing"]["resolveAgentRoute"]>;

/** One dispatch to OpenClaw and the answers that come back from it: none, one or several. */
class Turn {
  readonly #context: TurnContext;
  readonly #envelope: MessageEnvelope;
  readonly #entry: Entry;
  #runId: string | undefined;
  #sent = 0;

  constructor(context: TurnContext, { envelope, entry }: Delivery) {
    this.#context = context;
    this.#envelope = envelope;
    this.#entry = entry;
  }

  async dispatch(route: Route, access: Extract<Access, { kind: "allowed" }>): Promise<void> {
    const { cfg, runtime, account } = this.#context;
    const { id, message } = this.#envelope;
    const body = textForAgent(message);
    const result = await runtime.channel.inbound.run({
      channel: CHANNEL,
      accountId: account.accountId,
      raw: this.#envelope,
      adapter: {
        ingest: () => ({
          id,
          rawText: message.text,
          textForAgent: body,
          textForCommands: message.text,
          ...(message.sentAt !== undefined && { timestamp: message.sentAt }),
        }),
        resolveTurn: () => ({
          cfg,
          channel: CHANNEL,
          accountId: account.accountId,
          route,
          ctxPayload: this.#contextPayload(route, access, body),
          delivery: {
            deliver: (payload) => this.#deliver(payload),
            onError: (error) =>
              this.#context.log.error(`dingtalk: an answer to ${id} was not delivered: ${String(error)}`),
          },
          replyPipeline: {},
          replyOptions: {
            onAgentRunStart: (runId) => {
              this.#runId = runId;
            },
          },
        }),
      },
      turnAdoptionLifecycle: this.#lifecycle(),
    });
    if (!result.dispatched && !this.#entry.standing) {
      this.#entry.note({
        kind: "taken",
        decision: { decision: "skipped", reason: `skipped: ${result.admission.kind}` },
      });
    }
  }

  /** OpenClaw says when it owns the turn, when it keeps it waiting behind another, and when it gave it up. */
  #lifecycle() {
    const entry = this.#entry;
    return {
      admission: "exclusive" as const,
      onAdopted: () =>
        entry.note({ kind: "taken", decision: { decision: "accepted", ...(this.#runId && { runId: this.#runId }) } }),
      onDeferred: () => entry.note({ kind: "deferred" }),
      onAbandoned: () => entry.note({ kind: "failed", reason: "OpenClaw gave the turn up before it began" }),
      // Settled without having been adopted or abandoned: the words went into the answer that was already being written.
      onSettled: () =>
        entry.note({ kind: "taken", decision: { decision: "merged", reason: "merged: into the answer in progress" } }),
    };
  }

  #contextPayload(route: Route, access: Extract<Access, { kind: "allowed" }>, body: string) {
    const { runtime, account } = this.#context;
    const { id, message, replyTo } = this.#envelope;
    const { conversation, sender, quote } = message;
    const group = conversation.kind === "group";
    const quoted = quotedText(quote);
    return runtime.channel.inbound.buildContext({
      channel: CHANNEL,
      accountId: account.accountId,
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
      access: {
        commands: { authorized: access.commandAuthorized },
        ...(group && { mentions: { canDetectMention: true, wasMentioned: message.mentioned } }),
      },
      channelIngress: access.ingress,
      ...(message.sentAt !== undefined && { timestamp: message.sentAt }),
      ...(quoted !== undefined && {
        supplemental: {
          quote: {
            body: quoted,
            isQuote: true,
            ...(quote?.messageId !== undefined && { id: quote.messageId }),
            ...(quote?.sender !== undefined && { sender: quote.sender }),
          },
        },
      }),
    });
  }

  async #deliver(
    payload: Parameters<typeof replyText>[0],
  ): Promise<{ visibleReplySent: boolean; messageIds?: string[] }> {
    const text = replyText(payload);
    if (!text) return { visibleReplySent: false };
    // The run's id and a count: OpenClaw may give several answers to one message, and each is a message of its own.
    const key = `${this.#envelope.id}/${this.#runId ?? "turn"}/${this.#sent}`;
    this.#sent += 1;
    const id = await sendMessage({ ...this.#context, message: replyTo(this.#envelope, text), key });
    return { visibleReplySent: true, messageIds: [id] };
  }
}

const labelOf = (label: string | undefined): { label?: string } => (label === undefined ? {} : { label });
