import type { AddressInfo, Socket } from "node:net";
import { fastify } from "fastify";
import type { ApiContext } from "./dingtalk-api.ts";
import { allApis } from "./dingtalk-apis.ts";
import { CardPresses } from "./dingtalk-card-press.ts";
import type { CardPress, SimulatedCard, SimulatedReaction } from "./dingtalk-card-types.ts";
import { Cards } from "./dingtalk-cards.ts";
import { serveControl } from "./dingtalk-control-routes.ts";
import { Delivery } from "./dingtalk-delivery.ts";
import { makeFaults, type Faults } from "./dingtalk-fault-controls.ts";
import { FaultPlan } from "./dingtalk-faults.ts";
import { serveApis } from "./dingtalk-http.ts";
import { defaultKnobs, type SimulatorKnobs } from "./dingtalk-knobs.ts";
import { busiestWindow, Limits } from "./dingtalk-limits.ts";
import { Media, type SimulatedMedia } from "./dingtalk-media.ts";
import { Reactions } from "./dingtalk-reactions.ts";
import { Records } from "./dingtalk-records.ts";
import { Speaker } from "./dingtalk-speaker.ts";
import { Tickets } from "./dingtalk-tickets.ts";
import { Timers } from "./dingtalk-timers.ts";
import type {
  AckRecord,
  ConnectionChoice,
  ConnectionInfo,
  EventMap,
  EventName,
  PushHandle,
  PushRecord,
  RequestRecord,
  SaidMessage,
  SentMessage,
  SimulatedGroup,
  SimulatedUser,
  SimulatorOptions,
  TrackedPush,
} from "./dingtalk-types.ts";
import { World, type Usage } from "./dingtalk-world.ts";

/** Which calls `calls` and `busiest` look at. */
export interface CallFilter {
  app?: string;
  api?: string;
  conversationId?: string;
  /** Only calls that were taken (2xx and DingTalk's code "ok"). */
  ok?: boolean;
}

/** DingTalk on loopback: Stream, Open API, webhooks, and everything that goes wrong with them. */
export interface DingtalkSimulator {
  /** Base URL of both api.dingtalk.com and oapi.dingtalk.com: their paths do not collide. */
  readonly url: string;
  readonly knobs: Readonly<SimulatorKnobs>;
  /** Takes effect at once, also for the intervals of open connections. */
  setKnobs(knobs: Partial<SimulatorKnobs>): void;

  /** A person says something to a robot: one push to one random live connection of its app. */
  say(message: SaidMessage): Promise<PushHandle>;
  /** A person reads what was sent through the Open API under that key: event `robot_msg_read`. */
  read(processQueryKey: string, staffId: string): Promise<PushHandle>;
  /** A tracked CALLBACK or EVENT (card callback, robot_msg_read, …): acked, repeated like any other. */
  push(push: TrackedPush): Promise<PushHandle>;
  /**
   * Writes a frame as it is (object → JSON text, string → text, Buffer → binary) on one random live connection, all of them
   * with `all`. Returns the ids of the connections. Never repeated; a messageId in it may be acked.
   */
  pushFrame(frame: object | string | Buffer, options?: ConnectionChoice & { all?: boolean }): Promise<string[]>;
  /** Somebody uses a control of a card in a chat: the action callback. The ack's `response` changes the card. */
  press(press: CardPress): Promise<PushHandle>;
  /** SYSTEM frame on every chosen connection; `disconnect` announces the end and keeps its word. */
  pushSystem(topic: string, options?: ConnectionChoice & { data?: unknown; bare?: boolean }): Promise<string[]>;

  readonly sent: readonly SentMessage[];
  /** In the order of their creation; each is the same object for its whole life. */
  readonly cards: readonly SimulatedCard[];
  /** Of `app`, else of the first app that has one of that id. */
  card(outTrackId: string, app?: string): SimulatedCard | undefined;
  readonly reactions: readonly SimulatedReaction[];
  /** Files that were uploaded, and files to be downloaded. */
  readonly media: SimulatedMedia;
  readonly acks: readonly AckRecord[];
  readonly requests: readonly RequestRecord[];
  readonly pushes: readonly PushRecord[];
  /** Mistakes of the client: malformed acks, unknown APIs, undocumented parameters, missing headers. */
  readonly problems: readonly string[];
  /** Live ones. A half-open one stays, with its `mode`, until it is closed. */
  readonly connections: readonly ConnectionInfo[];
  /** All that were ever opened. */
  readonly allConnections: readonly ConnectionInfo[];
  /** Arrivals of matching calls, epoch ms with fractions, ascending. */
  calls(filter?: CallFilter): number[];
  /** The largest number of matching calls within any `windowMs`: the oracle of rate-limit tests. */
  busiest(windowMs: number, filter?: CallFilter): number;
  /** The month's consumption of an app's organisation; the returned object may be changed. */
  usage(app?: string): Usage;

  readonly events: Records["events"];
  /** The next matching event. Rejects after `timeoutMs` (default 5 s). */
  waitFor<E extends EventName>(
    event: E,
    predicate?: (record: EventMap[E]) => boolean,
    timeoutMs?: number,
  ): Promise<EventMap[E]>;
  /** A matching event, past or next. */
  until<E extends EventName>(
    event: E,
    predicate?: (record: EventMap[E]) => boolean,
    timeoutMs?: number,
  ): Promise<EventMap[E]>;

  /** Everything issued so far that must not be seen elsewhere: tokens, tickets, sessions, download codes, signatures, App Secrets. */
  secrets(): string[];
  readonly faults: Faults;
  /** Somebody resets the App Secret of an app (default: the first): what is open stays, the next call needs the new one. */
  rekey(appSecret: string, app?: string): void;
  addUser(user: SimulatedUser): void;
  addGroup(group: SimulatedGroup): void;
  /** Forgets records, faults, counters and what waits to be delivered. Connections, sessions, tokens, knobs and people stay. */
  reset(): void;
  /** Destroys every socket, clears every timer. */
  close(): Promise<void>;
}

/** Starts the simulator; listening when it resolves. */
export async function startDingtalkSimulator(options: SimulatorOptions): Promise<DingtalkSimulator> {
  const knobs: SimulatorKnobs = { ...defaultKnobs, ...options.knobs };
  const random = options.random ?? Math.random;
  const timers = new Timers();
  const records = new Records(() => knobs.maxRecords);
  const world = new World(options, knobs);
  const limits = new Limits(knobs);
  const plan = new FaultPlan(random);
  const tickets = new Tickets(knobs, () => world.ids.ticket());
  const delivery = new Delivery({ world, knobs, records, timers, faults: plan, tickets, random });
  const { connections } = delivery;
  const cards = new Cards(records, knobs);
  const reactions = new Reactions(records);
  const media = new Media(knobs, records, world.ids);
  let base = "";
  const context: ApiContext = {
    world,
    knobs,
    records,
    limits,
    tickets,
    media,
    cards,
    reactions,
    url: () => {
      const http = options.publicUrl ?? base;
      return { http, ws: http.replace(/^http/, "ws") };
    },
  };
  const presses = new CardPresses(context, delivery);
  const speaker = new Speaker(context, delivery, random);
  const faults = makeFaults({ plan, delivery, world, limits, media, knobs });

  const server = fastify({ bodyLimit: 64 * 1024 * 1024, forceCloseConnections: true });
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  const sockets = new Set<Socket>();
  server.server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.server.on("upgrade", (request, socket, head: Buffer) => connections.upgrade(request, socket, head));

  const select = (filter: CallFilter): number[] =>
    records.requests.items
      .filter(
        (r) =>
          (filter.app === undefined || r.app === filter.app) &&
          (filter.api === undefined || r.api === filter.api) &&
          (filter.conversationId === undefined || r.conversationId === filter.conversationId) &&
          (filter.ok !== true || r.code === "ok"),
      )
      .map((r) => r.at);
  let closing: Promise<void> | undefined;

  const simulator: DingtalkSimulator = {
    get url() {
      return base;
    },
    knobs,
    setKnobs(changed) {
      Object.assign(knobs, changed);
      connections.rearm();
    },
    say: async (message) => speaker.say(message),
    read: async (processQueryKey, staffId) => speaker.read(processQueryKey, staffId),
    push: async (push) => speaker.push(push),
    pushFrame: async (frame, choice = {}) => speaker.pushFrame(frame, choice),
    press: async (press) => presses.press(press),
    pushSystem: async (topic, choice = {}) => speaker.pushSystem(topic, choice),
    sent: records.sent.items,
    cards: records.cards.items,
    card: (outTrackId, app) =>
      (app === undefined ? world.apps : [world.app(app)])
        .map((owner) => cards.find(owner, outTrackId))
        .find((card) => card !== undefined),
    reactions: records.reactions.items,
    media: media.view((name) => world.app(name)),
    acks: records.acks.items,
    requests: records.requests.items,
    pushes: records.pushes.items,
    problems: records.problems.items,
    get connections() {
      return connections.live().map((connection) => connection.info);
    },
    allConnections: records.connections.items,
    calls: (filter = {}) => select(filter),
    busiest: (windowMs, filter = {}) => busiestWindow(select(filter), windowMs),
    usage: (app) => world.usage(world.app(app).corpId),
    events: records.events,
    waitFor: (event, predicate, timeoutMs) => records.waitFor(event, predicate, timeoutMs),
    until: (event, predicate, timeoutMs) => records.until(event, predicate, timeoutMs),
    secrets: () => [...world.ids.secrets, ...world.apps.map(({ appSecret }) => appSecret)],
    faults,
    rekey: (appSecret, app) => {
      world.app(app).appSecret = appSecret;
    },
    addUser: (user) => world.addUser(user),
    addGroup: (group) => world.addGroup(group),
    reset() {
      records.clear();
      faults.clear();
      delivery.clear();
      media.clear();
      cards.clear();
      reactions.clear();
      presses.clear();
      limits.clear();
      world.clearUsage();
    },
    close() {
      closing ??= (async () => {
        timers.close();
        delivery.clear();
        connections.close();
        for (const socket of sockets) socket.destroy();
        await server.close();
        records.close();
      })();
      return closing;
    },
  };
  serveApis(server, allApis, { context, faults: plan, timers });
  serveControl(server, simulator);
  await server.listen({ host: options.host ?? "127.0.0.1", port: options.port ?? 0 });
  const { address, port, family } = server.server.address() as AddressInfo;
  base = `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  return simulator;
}
