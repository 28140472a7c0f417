import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { CHANNEL } from "./accounts.ts";
import { Activity } from "./activity.ts";
import type { Bridge } from "./bridge-http.ts";
import { inboundRun } from "./compat.ts";
import { type ReceivedFiles, receiveFiles } from "./files-in.ts";
import type { Delivery } from "./hub.ts";
import type { Entry } from "./ledger.ts";
import { fileLoader } from "./outbound.ts";
import { mayPreview } from "./previews.ts";
import { progressLine } from "./progress.ts";
import { type Delivered, type Payload, Reply } from "./reply.ts";
import { type Asker, Run } from "./run.ts";
import type { Session, Sessions } from "./sessions.ts";
import { Settling } from "./settling.ts";
import { textForAgent } from "./text.ts";
import { type Allowed, type Route, contextOf } from "./turn-context.ts";
import type { MessageEnvelope } from "./types.ts";

/** What one turn was decided by and is answered with. */
export interface TurnContext {
  cfg: OpenClawConfig;
  runtime: PluginRuntime;
  sessions: Sessions;
  bridge: Bridge;
}

/** `stops`: the message asks to stop. */
type TurnMessage = Delivery & { stops: boolean };

/** One dispatch to OpenClaw and the answers that come back from it: none, one or several. */
export class Turn {
  readonly #context: TurnContext;
  readonly #envelope: MessageEnvelope;
  readonly #entry: Entry;
  readonly #stops: boolean;
  readonly #asker: Asker;
  #session: Session = { run: undefined, hasOwnRun: undefined, showsPartials: false, settling: new Settling() };
  /** The run that answers: its own, or the one that its words went into. */
  #run: Run | undefined;
  #runId: string | undefined;
  #isStreaming = false;
  #isVerbose: () => boolean = () => false;
  /** OpenClaw has put it behind a run that was going on. */
  #isDeferred = false;
  #hasReturned = false;
  #unlisten: () => void = () => undefined;

  constructor(context: TurnContext, { envelope, entry, stops }: TurnMessage) {
    const { runtime, bridge } = context;
    const { conversation, sender } = envelope.message;
    this.#context = context;
    this.#envelope = envelope;
    this.#entry = entry;
    this.#stops = stops;
    const reply = new Reply({
      bridge,
      target: { to: envelope.replyTo, inReplyTo: envelope.id },
      load: fileLoader(runtime, bridge.account),
      runId: () => this.#run?.id ?? this.#runId,
      isStreaming: () => this.#isStreaming,
      mention: conversation.kind === "group" && bridge.account.mentionSender ? sender.staffId : undefined,
    });
    this.#asker = { reply, activity: new Activity(bridge, envelope.id) };
  }

  /** Resolves when OpenClaw is done with the message, or keeps it waiting behind another. */
  async run(route: Route, access: Allowed): Promise<void> {
    const { runtime, bridge, sessions } = this.#context;
    const { account } = bridge;
    this.#session = sessions.session(route.sessionKey);
    this.#isStreaming = account.streaming && (await mayPreview());
    const files = await receiveFiles({ runtime, bridge, maxBytes: account.mediaMaxBytes }, this.#envelope.message);
    if (this.#entry.stopped.aborted) return;
    let hasFailed = true;
    try {
      await this.#dispatch(route, access, files);
      hasFailed = false;
    } finally {
      this.#hasReturned = true;
      // What waits has its run later, or is answered by another one: `onSettled` says when a run that waited is over.
      if (!this.#isDeferred) await this.#end(hasFailed);
    }
  }

  async #dispatch(route: Route, access: Allowed, files: ReceivedFiles): Promise<void> {
    const { cfg, runtime, bridge } = this.#context;
    const { id, message } = this.#envelope;
    const { accountId } = bridge.account;
    // OpenClaw ignores what was written before a request to stop, by these times, and in a group that would be others' words too.
    const timestamp = this.#stops ? undefined : message.sentAt;
    const result = await inboundRun(runtime)({
      channel: CHANNEL,
      accountId,
      raw: this.#envelope,
      adapter: {
        ingest: () => ({
          id,
          rawText: message.text,
          textForAgent: textForAgent(message, files.missing),
          textForCommands: message.text,
          ...(timestamp !== undefined && { timestamp }),
        }),
        resolveTurn: () => ({
          cfg,
          channel: CHANNEL,
          accountId,
          route,
          ctxPayload: contextOf({ cfg, runtime, accountId, envelope: this.#envelope, route, access, files, timestamp }),
          delivery: {
            deliver: (payload, info) => this.#session.settling.during(this.#deliver(payload, info)),
            onError: (error) => bridge.log.error(`dingtalk: an answer to ${id} was not delivered: ${String(error)}`),
          },
          // A request to stop waits for nothing.
          ...(!this.#stops && { afterRecord: () => this.#session.settling.settled() }),
          replyPipeline: {},
          replyOptions: { ...this.#observers(), ...(this.#isStreaming && this.#previews()) },
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

  /** OpenClaw reports what happens in a run that had waited to the turn that was put into its queue last. */
  get #current(): Run | undefined {
    return this.#run && !this.#isDeferred ? this.#run : this.#session.run;
  }

  async #deliver(payload: Payload, info: { kind: string; assistantMessageIndex?: number }): Promise<Delivered> {
    const run = this.#current;
    const isOwn = !this.#isDeferred && !this.#run;
    // A command is answered beside whatever runs.
    if (isOwn || !run || run.isOver) return await this.#asker.reply.deliver(payload, info.kind);
    return await run.deliver(payload, { kind: info.kind, message: info.assistantMessageIndex });
  }

  /** What tells which message is being answered, also where nothing is shown. */
  #observers() {
    const { account } = this.#context.bridge;
    return {
      // Tools are told of by `onToolStart` alone, unless the session is verbose.
      suppressDefaultToolProgressMessages: true,
      onVerboseProgressVisibility: (isActive: () => boolean) => {
        this.#isVerbose = isActive;
      },
      onAgentRunStart: (runId: string) => {
        if (this.#run || this.#isDeferred) this.#named(runId);
        else this.#runId = runId;
      },
      onQueuedFollowupAdmitted: () => {
        this.#session.hasOwnRun?.();
        this.#session.hasOwnRun = undefined;
      },
      onAssistantMessageStart: () => {
        this.#current?.messageBegins();
        return false;
      },
      onToolStart: ({ name, args, phase }: { name?: string; args?: Record<string, unknown>; phase?: string }) => {
        if (phase !== undefined && phase !== "start") return false;
        const isShown = this.#isStreaming && account.toolProgress && !this.#isVerbose() && name !== undefined;
        return this.#current?.toolBegins(isShown ? progressLine(name, args) : undefined) ?? false;
      },
    };
  }

  #named(runId: string): void {
    const run = this.#current;
    if (run) run.id = runId;
  }

  /** What is shown while it grows need not come in blocks as well. */
  #previews() {
    return {
      disableBlockStreaming: true,
      onPartialReply: (partial: { text?: string | undefined }) => {
        this.#session.showsPartials = true;
        return this.#current?.reply.grow(partial) ?? false;
      },
    };
  }

  /** OpenClaw says when it owns the turn, when it keeps it waiting behind another, and when it gave it up. */
  #lifecycle() {
    const entry = this.#entry;
    return {
      admission: "exclusive" as const,
      abortSignal: entry.stopped,
      onAdopted: () => this.#adopted(),
      onDeferred: () => {
        this.#isDeferred = true;
        entry.note({ kind: "deferred" });
      },
      onAbandoned: () => entry.note({ kind: "failed", reason: "OpenClaw gave the turn up before it began" }),
      onSettled: () => {
        if (entry.standing?.kind === "deferred") this.#merged();
        this.#session.hasOwnRun = undefined;
        // Never rejects.
        if (this.#isDeferred) void this.#end(false);
      },
    };
  }

  #adopted(): void {
    const session = this.#session;
    const { run } = session;
    if (!this.#isDeferred || this.#hasReturned || !run || run.isOver) return this.#begins();
    // It went into the run that is going on; or that one has just ended, and OpenClaw says next that this one has the session.
    this.#run = run;
    run.join(this.#asker);
    session.hasOwnRun = () => {
      run.leave(this.#asker);
      this.#begins();
    };
  }

  /** The message has a run of its own. */
  #begins(): void {
    this.#run = new Run(this.#asker, this.#session.settling);
    this.#run.id = this.#runId;
    this.#session.run = this.#run;
    if (this.#isDeferred) {
      this.#context.sessions.begin(this.#envelope.id, this.#run);
      this.#listen(this.#run);
    }
    this.#entry.note({
      kind: "taken",
      decision: { decision: "accepted", ...(this.#runId !== undefined && { runId: this.#runId }) },
    });
  }

  /** The words went into the answer that was being written. */
  #merged(): void {
    this.#entry.note({
      kind: "taken",
      decision: { decision: "merged", reason: "merged: into the answer in progress" },
    });
  }

  /** OpenClaw gives no unfinished texts of a run that had waited, but tells everybody of them. */
  #listen(run: Run): void {
    const { runtime } = this.#context;
    if (!this.#isStreaming || !this.#session.showsPartials) return;
    let message: unknown;
    this.#unlisten = runtime.events.onAgentEvent(({ runId, stream, data }) => {
      if (runId !== run.id || stream !== "assistant") return;
      if (data["itemId"] !== message) run.messageBegins();
      message = data["itemId"];
      if (typeof data["text"] === "string") run.reply.grow({ text: data["text"] });
    });
  }

  /** Ends the run where it is this turn's own. Never rejects. */
  async #end(hasFailed: boolean): Promise<void> {
    const { id } = this.#envelope;
    const { sessions } = this.#context;
    const { reply, activity } = this.#asker;
    this.#unlisten();
    const run = this.#run;
    const isOwn = run?.isFor(this.#asker) === true;
    if (hasFailed && this.#entry.standing?.kind === "taken") await reply.apologise();
    if (run && isOwn) {
      await run.end(hasFailed ? "failed" : "aborted");
      if (this.#session.run === run) this.#session.run = undefined;
      sessions.end(id);
    } else if (!run) {
      await reply.end(hasFailed ? "failed" : "aborted");
      activity.idle();
    }
  }
}
