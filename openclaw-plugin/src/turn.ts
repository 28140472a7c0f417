import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import type { Access } from "./access.ts";
import { CHANNEL } from "./accounts.ts";
import { Activity } from "./activity.ts";
import type { Bridge } from "./bridge-http.ts";
import { type ReceivedFiles, receiveFiles } from "./files-in.ts";
import type { Delivery } from "./hub.ts";
import type { Entry } from "./ledger.ts";
import { fileLoader } from "./outbound.ts";
import { mayPreview } from "./previews.ts";
import { Reply } from "./reply.ts";
import { textForAgent } from "./text.ts";
import { type Allowed, type Route, contextOf } from "./turn-context.ts";
import type { MessageEnvelope } from "./types.ts";

/** What one turn was decided by and is answered with. */
export interface TurnContext {
  cfg: OpenClawConfig;
  runtime: PluginRuntime;
  bridge: Bridge;
}

/** One dispatch to OpenClaw and the answers that come back from it: none, one or several. */
export class Turn {
  readonly #context: TurnContext;
  readonly #envelope: MessageEnvelope;
  readonly #entry: Entry;
  readonly #activity: Activity;
  readonly #reply: Reply;
  #runId: string | undefined;
  #isStreaming = false;

  constructor(context: TurnContext, { envelope, entry }: Delivery) {
    const { runtime, bridge } = context;
    this.#context = context;
    this.#envelope = envelope;
    this.#entry = entry;
    this.#activity = new Activity(bridge, envelope.id);
    this.#reply = new Reply({
      bridge,
      target: { to: envelope.replyTo, inReplyTo: envelope.id },
      load: fileLoader(runtime, bridge.account),
      runId: () => this.#runId,
      isStreaming: () => this.#isStreaming,
    });
  }

  /** Resolves when OpenClaw is done with the message, or keeps it waiting behind another. */
  async run(route: Route, access: Extract<Access, { kind: "allowed" }>): Promise<void> {
    const { runtime, bridge } = this.#context;
    const { account } = bridge;
    this.#isStreaming = account.streaming && (await mayPreview());
    const files = await receiveFiles({ runtime, bridge, maxBytes: account.mediaMaxBytes }, this.#envelope.message);
    let hasFailed = true;
    try {
      await this.#dispatch(route, access, files);
      hasFailed = false;
    } finally {
      await this.#reply.end(hasFailed ? "failed" : "aborted");
      // A message that waits has its turn later: `onSettled` says when that is over.
      if (this.#entry.standing?.kind !== "deferred") this.#activity.idle();
    }
  }

  async #dispatch(route: Route, access: Allowed, files: ReceivedFiles): Promise<void> {
    const { cfg, runtime, bridge } = this.#context;
    const { id, message } = this.#envelope;
    const { accountId } = bridge.account;
    const result = await runtime.channel.inbound.run({
      channel: CHANNEL,
      accountId,
      raw: this.#envelope,
      adapter: {
        ingest: () => ({
          id,
          rawText: message.text,
          textForAgent: textForAgent(message, files.missing),
          textForCommands: message.text,
          ...(message.sentAt !== undefined && { timestamp: message.sentAt }),
        }),
        resolveTurn: () => ({
          cfg,
          channel: CHANNEL,
          accountId,
          route,
          ctxPayload: contextOf({ runtime, accountId, envelope: this.#envelope, route, access, files }),
          delivery: {
            deliver: (payload, { kind }) => this.#reply.deliver(payload, kind),
            onError: (error) => bridge.log.error(`dingtalk: an answer to ${id} was not delivered: ${String(error)}`),
          },
          replyPipeline: {},
          replyOptions: {
            onAgentRunStart: (runId) => {
              this.#runId = runId;
            },
            ...(this.#isStreaming && this.#previews()),
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

  /** What is shown while it grows need not come in blocks as well. */
  #previews() {
    return {
      disableBlockStreaming: true,
      onPartialReply: (partial: { text?: string | undefined }) => this.#reply.grow(partial),
      onAssistantMessageStart: () => {
        this.#reply.beginMessage();
        return false;
      },
    };
  }

  /** OpenClaw says when it owns the turn, when it keeps it waiting behind another, and when it gave it up. */
  #lifecycle() {
    const entry = this.#entry;
    return {
      admission: "exclusive" as const,
      onAdopted: () => {
        this.#activity.working();
        entry.note({ kind: "taken", decision: { decision: "accepted", ...(this.#runId && { runId: this.#runId }) } });
      },
      onDeferred: () => entry.note({ kind: "deferred" }),
      onAbandoned: () => entry.note({ kind: "failed", reason: "OpenClaw gave the turn up before it began" }),
      onSettled: () => {
        this.#activity.idle();
        // Settled without having been adopted or abandoned: the words went into the answer that was already being written.
        entry.note({ kind: "taken", decision: { decision: "merged", reason: "merged: into the answer in progress" } });
      },
    };
  }
}
