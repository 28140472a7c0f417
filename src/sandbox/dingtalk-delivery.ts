import { judgeAck, parseAck } from "./dingtalk-acks.ts";
import type { Connection, ConnectionDeps } from "./dingtalk-connection.ts";
import { Connections } from "./dingtalk-connections.ts";
import { CappedMap } from "./dingtalk-records.ts";
import type { AckRecord, PushHandle, TrackedPush } from "./dingtalk-types.ts";
import type { App } from "./dingtalk-world.ts";

export const robotTopic = "/v1.0/im/bot/messages/get";
export const cardTopic = "/v1.0/card/instances/callback";
const callbackTopics: readonly string[] = [cardTopic, "/v1.0/card/dynamicData/get"];

/** A message on its way, over all its deliveries. */
interface Push {
  app: App;
  type: string;
  topic: string;
  headers: Record<string, string>;
  data: string;
  handle: PushHandle;
  attempts: number;
  /** The ack that settled it. */
  accepted: AckRecord | undefined;
  waiting: ((ack: AckRecord) => void)[];
  /** Whether it comes again without an ack. */
  repeats: boolean;
  cancel: (() => void) | undefined;
}

interface Sent {
  push: Push;
  connection: Connection;
  at: number;
}

/** Writes frames, matches acks, delivers again. */
export class Delivery {
  readonly connections: Connections;
  readonly #deps: ConnectionDeps;
  readonly #sent: CappedMap<string, Sent>;
  readonly #open = new Set<Push>();
  readonly #queues = new Map<string, Push[]>();
  #duplicates: { left: number; afterMs: number } | undefined;

  constructor(deps: ConnectionDeps) {
    this.#deps = deps;
    this.#sent = new CappedMap(() => deps.knobs.maxRecords);
    this.connections = new Connections(deps, {
      message: (connection, text, isBinary) => this.#ack(connection, text, isBinary),
      opened: (connection) => this.#flush(connection.app),
    });
  }

  /** Pushes to one random live connection of the app. */
  push(app: App, spec: TrackedPush, msgId: string | undefined): PushHandle {
    const push = this.#make(app, spec, msgId);
    this.#transmit(push);
    return push.handle;
  }

  #make(app: App, spec: TrackedPush, msgId: string | undefined): Push {
    const push: Push = {
      app,
      type: spec.type,
      topic: spec.topic,
      headers: spec.headers ?? {},
      data: typeof spec.data === "string" ? spec.data : JSON.stringify(spec.data),
      attempts: 0,
      accepted: undefined,
      waiting: [],
      repeats: true,
      cancel: undefined,
      handle: {
        app: app.appKey,
        msgId,
        messageIds: [],
        body: spec.data,
        delivered: false,
        reason: undefined,
        connectionId: undefined,
        copies: [],
        acked: (timeoutMs = 5_000) => this.#acked(push, timeoutMs),
      },
    };
    return push;
  }

  #acked(push: Push, timeoutMs: number): Promise<AckRecord> {
    if (push.accepted) return Promise.resolve(push.accepted);
    const what = `ack of ${push.handle.messageIds.join(", ")} (${push.handle.reason ?? "delivered"})`;
    return this.#deps.records.wait<AckRecord>(what, timeoutMs, (resolve) => {
      push.waiting.push(resolve);
      return () => {
        push.waiting = push.waiting.filter((other) => other !== resolve);
      };
    });
  }

  #transmit(push: Push): void {
    const { handle } = push;
    const target = this.connections.choose(push.app, push.type, push.topic);
    if (target.kind === "none") {
      handle.reason = target.reason;
      if (target.reason === "no_connection" && this.#deps.knobs.offline === "queue") {
        handle.reason = "queued";
        this.#queue(push);
      }
      return;
    }
    const { connection } = target;
    const now = this.#deps.world.now();
    const first = handle.messageIds[0];
    const messageId = first && this.#deps.knobs.redeliverSameMessageId ? first : this.#deps.world.ids.frame(now);
    if (messageId !== first) handle.messageIds.push(messageId);
    const written = !target.intoVoid && connection.send(this.#frame(push, connection, messageId, now));
    push.attempts++;
    connection.info.pushes++;
    handle.delivered ||= written;
    handle.reason = written ? undefined : "lost";
    handle.connectionId = connection.info.id;
    this.#sent.set(messageId, { push, connection, at: performance.now() });
    const record = {
      seq: this.#deps.records.nextSeq(),
      at: Date.now(),
      app: push.app.appKey,
      type: push.type,
      topic: push.topic,
      messageId,
      msgId: handle.msgId,
      connectionId: connection.info.id,
      attempt: push.attempts,
      intoVoid: !written,
    };
    this.#deps.records.pushes.add(record);
    if (!target.lost) this.#repeatLater(push);
    this.#deps.records.emit("pushed", record);
    if (push.attempts > 1) this.#deps.records.emit("redelivered", record);
  }

  #frame(push: Push, connection: Connection, messageId: string, now: number): string {
    return JSON.stringify({
      specVersion: "1.0",
      type: push.type,
      headers: {
        appId: push.app.appId,
        connectionId: connection.info.id,
        contentType: "application/json",
        messageId,
        time: String(Math.trunc(now)),
        topic: push.topic,
        ...push.headers,
      },
      data: push.data,
    });
  }

  #queue(push: Push): void {
    const queue = this.#queues.get(push.app.appKey);
    if (queue) queue.push(push);
    else this.#queues.set(push.app.appKey, [push]);
  }

  #flush(app: App): void {
    const queue = this.#queues.get(app.appKey) ?? [];
    this.#queues.delete(app.appKey);
    for (const push of queue) this.#transmit(push);
  }

  #repeatLater(push: Push, afterMs = this.#deps.knobs.redeliverAfterMs): void {
    push.cancel?.();
    push.cancel = undefined;
    this.#open.delete(push);
    if (!push.repeats || push.accepted || push.attempts > this.#deps.knobs.redeliveries) return;
    this.#open.add(push);
    push.cancel = this.#deps.timers.after(afterMs, () => {
      this.#open.delete(push);
      push.cancel = undefined;
      // The knob may have been turned down meanwhile.
      if (push.attempts <= this.#deps.knobs.redeliveries) this.#transmit(push);
    });
  }

  /** A frame written as it is; its messageId, if it has one, may be acked but is never repeated. */
  pushRaw(connection: Connection, frame: string | Buffer): void {
    const { messageId, type, topic } = headOf(frame);
    connection.send(frame);
    if (messageId === undefined) return;
    const push = this.#make(
      connection.app,
      { type: type === "EVENT" ? type : "CALLBACK", topic: topic ?? "", data: "" },
      undefined,
    );
    push.handle.messageIds.push(messageId);
    push.repeats = false;
    this.#sent.set(messageId, { push, connection, at: performance.now() });
  }

  /** The next `count` pushes come again although they are acked. */
  duplicateAcked(count: number, afterMs: number): void {
    this.#duplicates = { left: count, afterMs };
  }

  #ack(connection: Connection, text: string, isBinary: boolean): void {
    const { records, knobs } = this.#deps;
    const ack = parseAck(text, isBinary);
    connection.info.acks++;
    if (ack.messageId !== undefined && !ack.malformed && connection.answersPing(ack.messageId, ack.data)) return;
    const sent = ack.messageId === undefined ? undefined : this.#sent.get(ack.messageId);
    if (!sent && !ack.malformed && connection.sentSystem(ack.messageId)) return;
    const latencyMs = sent ? performance.now() - sent.at : 0;
    const lateAfter =
      sent && callbackTopics.includes(sent.push.topic) ? knobs.cardCallbackLateAfterMs : knobs.ackLateAfterMs;
    const judged = sent ? judgeAck(ack, sent.push.type) : { again: false, malformed: "unknown messageId" };
    let malformed = ack.malformed ?? judged.malformed;
    if (sent && sent.connection !== connection) malformed ??= "sent on another connection than the frame came from";
    const record: AckRecord = {
      seq: records.nextSeq(),
      at: Date.now(),
      app: connection.app.appKey,
      messageId: ack.messageId ?? "",
      msgId: sent?.push.handle.msgId,
      topic: sent?.push.topic,
      latencyMs,
      connectionId: connection.info.id,
      code: ack.code,
      data: ack.data,
      late: latencyMs > lateAfter,
      repeated: sent?.push.accepted !== undefined,
      ...(malformed === undefined ? {} : { malformed }),
    };
    records.acks.add(record);
    if (malformed !== undefined) records.problem(`malformed ack: ${malformed}`);
    else if (sent && !judged.again) this.#settle(sent.push, record);
    records.emit("ack", record);
  }

  #settle(push: Push, ack: AckRecord): void {
    if (push.accepted) return;
    push.accepted = ack;
    push.cancel?.();
    push.cancel = undefined;
    this.#open.delete(push);
    for (const resolve of push.waiting.splice(0)) resolve(ack);
    const duplicate = this.#duplicates;
    if (!duplicate || duplicate.left <= 0 || !push.repeats) {
      // Known for repeated acks, but its content is not needed again: 200,000 of them would fill the memory.
      push.data = "";
      push.handle = { ...push.handle, body: undefined, copies: [] };
      return;
    }
    duplicate.left--;
    this.#open.add(push);
    push.cancel = this.#deps.timers.after(duplicate.afterMs, () => {
      this.#open.delete(push);
      this.#transmit(push);
    });
  }

  clearFaults(): void {
    this.#duplicates = undefined;
    this.connections.clearFaults();
  }

  /** Forgets what waits: queues and pending repetitions. Acks still on their way find their push. */
  clear(): void {
    this.clearFaults();
    this.#queues.clear();
    for (const push of this.#open) push.cancel?.();
    this.#open.clear();
  }
}

function headOf(frame: string | Buffer): { messageId?: string; type?: string; topic?: string } {
  try {
    const parsed = JSON.parse(frame.toString()) as { type?: string; headers?: { messageId?: string; topic?: string } };
    return {
      ...(typeof parsed.headers?.messageId === "string" ? { messageId: parsed.headers.messageId } : {}),
      ...(typeof parsed.type === "string" ? { type: parsed.type } : {}),
      ...(typeof parsed.headers?.topic === "string" ? { topic: parsed.headers.topic } : {}),
    };
  } catch {
    return {};
  }
}
