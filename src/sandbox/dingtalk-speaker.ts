import type { ApiContext } from "./dingtalk-api.ts";
import { robotTopic, type Delivery } from "./dingtalk-delivery.ts";
import { directOnly, messageBody, type Utterance } from "./dingtalk-messages.ts";
import type { ConnectionChoice, PushHandle, SaidMessage, TrackedPush } from "./dingtalk-types.ts";
import type { App } from "./dingtalk-world.ts";

/** Turns what people do into pushes, by the delivery rules of dingtalk-protocol.md §2.2. */
export class Speaker {
  readonly #context: ApiContext;
  readonly #delivery: Delivery;
  readonly #random: () => number;

  constructor(context: ApiContext, delivery: Delivery, random: () => number) {
    this.#context = context;
    this.#delivery = delivery;
    this.#random = random;
  }

  /** Throws for what DingTalk would never deliver, unless forced: such a test would prove nothing. */
  say(said: SaidMessage): PushHandle {
    const { world } = this.#context;
    const app = world.app(said.app);
    const group = said.group === undefined ? undefined : world.group(said.group);
    if (group && directOnly.includes(said.msgtype ?? "text") && !said.force) {
      throw new Error(`DingTalk does not deliver ${said.msgtype} messages in groups (use force)`);
    }
    const sender = world.user(said.from);
    const others = (said.at ?? []).flatMap((name) => {
      const other = world.findApp(name);
      return other && other !== app ? [other] : [];
    });
    const users = (said.at ?? []).filter((name) => name !== "all" && !world.findApp(name)).map((id) => world.user(id));
    const utterance: Utterance = {
      msgId: world.ids.message(),
      createAt: Math.trunc(world.now()),
      sender,
      said,
      mentioned: { users, apps: [app, ...others] },
    };
    const to = (robot: App): PushHandle => {
      const conversation = group ? world.groupConversation(robot, group) : world.direct(robot, sender.staffId);
      const body = messageBody(this.#context, conversation, utterance);
      const msgId = typeof body["msgId"] === "string" ? body["msgId"] : undefined;
      return this.#delivery.push(robot, { type: "CALLBACK", topic: robotTopic, data: body }, msgId);
    };
    const handle = group && said.mention === false ? unheard(app) : to(app);
    if (group) handle.copies.push(...others.map((other) => to(other)));
    return handle;
  }

  /** A person reads what a robot sent through the Open API: event `robot_msg_read` (dingtalk-protocol.md §1.3). */
  read(processQueryKey: string, staffId: string): PushHandle {
    const { world, records } = this.#context;
    const sent = records.sent.items.findLast((message) => message.processQueryKey === processQueryKey);
    if (!sent) throw new Error("no message was sent under this processQueryKey");
    sent.readBy = [...new Set([...(sent.readBy ?? []), staffId])];
    const { robotCode } = world.app(sent.app);
    const operatTime = String(Math.trunc(world.now()));
    const openConversationId = sent.conversationId;
    const data = { operatTime, robotCode, openConversationId, userId: staffId, processQueryKey };
    return this.push({ app: sent.app, type: "EVENT", topic: "*", data });
  }

  push(push: TrackedPush): PushHandle {
    const { world } = this.#context;
    const app = world.app(push.app);
    if (push.type !== "EVENT") return this.#delivery.push(app, push, undefined);
    const now = String(Math.trunc(world.now()));
    const headers = {
      eventId: world.ids.secret(),
      eventType: "robot_msg_read",
      eventCorpId: app.corpId,
      eventBornTime: now,
      eventUnifiedAppId: app.appId,
      ...push.headers,
    };
    return this.#delivery.push(app, { ...push, headers }, headers.eventId);
  }

  pushFrame(frame: object | string | Buffer, choice: ConnectionChoice & { all?: boolean }): string[] {
    const wire = typeof frame === "string" || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame);
    const all = this.#delivery.connections.live(choice);
    const live = choice.connectionId === undefined ? all.filter((connection) => !connection.info.draining) : all;
    const one = live[Math.floor(this.#random() * live.length)];
    const chosen = choice.all ? live : one ? [one] : [];
    for (const connection of chosen) this.#delivery.pushRaw(connection, wire);
    return chosen.map((connection) => connection.info.id);
  }

  pushSystem(topic: string, options: ConnectionChoice & { data?: unknown; bare?: boolean }): string[] {
    const chosen = this.#delivery.connections.live(options);
    for (const connection of chosen) {
      if (topic === "disconnect") connection.disconnect(options.bare === undefined ? {} : { bare: options.bare });
      else if (topic === "ping" && options.data === undefined && !options.bare) connection.ping();
      else connection.sendSystem(topic, options.data, options.bare);
    }
    return chosen.map((connection) => connection.info.id);
  }
}

/** A group message without the robot's @. */
const unheard = (app: App): PushHandle => ({
  app: app.appKey,
  msgId: undefined,
  messageIds: [],
  body: undefined,
  delivered: false,
  reason: "not_mentioned",
  connectionId: undefined,
  copies: [],
  acked: () => Promise.reject(new Error("DingTalk does not deliver group messages that do not @ the robot")),
});
