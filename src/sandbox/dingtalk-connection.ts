import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { FaultPlan } from "./dingtalk-faults.ts";
import type { CloseHow, SimulatorKnobs } from "./dingtalk-knobs.ts";
import { CappedMap, type Records } from "./dingtalk-records.ts";
import type { Ticket, Tickets } from "./dingtalk-tickets.ts";
import type { Timers } from "./dingtalk-timers.ts";
import type { ConnectionInfo, DisconnectOptions } from "./dingtalk-types.ts";
import type { App, World } from "./dingtalk-world.ts";

/** Everything a connection and the pool need. */
export interface ConnectionDeps {
  world: World;
  knobs: SimulatorKnobs;
  records: Records;
  timers: Timers;
  faults: FaultPlan;
  tickets: Tickets;
  random: () => number;
}

/** One live WebSocket, as the server sees it. */
export class Connection {
  readonly app: App;
  readonly info: ConnectionInfo;
  /** Opened after `loseFirst` was planned. */
  reconnected = true;
  readonly #deps: ConnectionDeps;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #topics = new Set<string>();
  #disarm: (() => void)[] = [];
  readonly #systemIds = new CappedMap<string, true>(() => 1_000);
  #opaque: string | undefined;
  #pingId: string | undefined;

  constructor(deps: ConnectionDeps, ticket: Ticket, ws: WebSocket, socket: Socket) {
    this.#deps = deps;
    this.app = ticket.app;
    this.#ws = ws;
    this.#socket = socket;
    for (const { type, topic } of ticket.subscriptions) this.#topics.add(`${type} ${topic}`);
    this.info = {
      seq: deps.records.nextSeq(),
      id: randomUUID(),
      app: ticket.app.appKey,
      ua: ticket.ua,
      localIp: ticket.localIp,
      subscriptions: ticket.subscriptions,
      openedAt: Date.now(),
      live: true,
      draining: false,
      mode: "normal",
      pushes: 0,
      acks: 0,
      wsPings: 0,
      unansweredPings: 0,
    };
  }

  /** EVENT is subscribed as `*` whatever the topic of the frame says. */
  subscribes(type: string, topic: string): boolean {
    return this.#topics.has(type === "EVENT" ? "EVENT *" : `${type} ${topic}`);
  }

  start(): void {
    const { records, knobs } = this.#deps;
    this.#ws.on("ping", () => this.info.wsPings++);
    this.#ws.on("error", () => this.#ws.terminate());
    this.#ws.on("close", (code) => {
      for (const disarm of this.#disarm) disarm();
      this.#disarm = [];
      this.info.live = false;
      this.info.closedAt = Date.now();
      this.info.closeCode ??= code;
      this.info.closedBy ??= "client";
      records.emit("closed", this.info);
    });
    if (knobs.sendConnected) this.sendSystem("CONNECTED");
    if (knobs.sendRegistered) this.sendSystem("REGISTERED");
    this.rearm();
  }

  /** Starts ping, KEEPALIVE and rotation with the present knobs. */
  rearm(): void {
    for (const disarm of this.#disarm) disarm();
    const { timers, knobs } = this.#deps;
    this.#disarm = [
      timers.every(knobs.pingEveryMs, () => this.ping()),
      timers.every(knobs.keepAliveEveryMs, () => {
        if (!this.info.draining) this.sendSystem("KEEPALIVE");
      }),
    ];
    if (knobs.rotateEveryMs > 0) this.#disarm.push(timers.after(knobs.rotateEveryMs, () => this.#rotate()));
  }

  #rotate(): void {
    const { rotation } = this.#deps.knobs;
    if (rotation === "disconnect") this.disconnect({ reason: "connection is expired" });
    else this.close(rotation);
  }

  /** Writes, unless the connection is half-open or a zombie. */
  send(data: string | Buffer): boolean {
    if (this.info.mode !== "normal" || this.#ws.readyState !== this.#ws.OPEN) return false;
    this.#ws.send(data);
    return true;
  }

  /** SYSTEM frame; returns its message id. */
  sendSystem(topic: string, data: unknown = {}, bare = false): string {
    const now = this.#deps.world.now();
    const messageId = this.#deps.world.ids.system(now);
    if (!bare) this.#systemIds.set(messageId, true);
    this.send(
      JSON.stringify({
        ...(bare ? {} : { specVersion: "1.0" }),
        type: "SYSTEM",
        headers: {
          contentType: "application/json",
          ...(bare ? {} : { messageId }),
          time: String(Math.trunc(now)),
          topic,
        },
        data: JSON.stringify(data),
      }),
    );
    return messageId;
  }

  /** A second ping while the first is unanswered is a miss of the client. */
  ping(): void {
    if (this.info.draining) return;
    if (this.#pingId !== undefined) {
      this.info.unansweredPings++;
      if (this.info.mode === "normal") this.#deps.records.problem(`SYSTEM ping ${this.#pingId} was not answered`);
      const drop = this.#deps.knobs.dropAfterMissedPings;
      if (drop > 0 && this.info.unansweredPings >= drop) return this.close("rst");
    }
    this.#opaque = randomUUID();
    this.#pingId = this.sendSystem("ping", { opaque: this.#opaque });
  }

  /** Whether this ack answers the last ping; notes a wrong echo. */
  answersPing(messageId: string, data: unknown): boolean {
    if (messageId !== this.#pingId) return false;
    const echoed = typeof data === "object" && data !== null && "opaque" in data ? data.opaque : undefined;
    if (echoed !== this.#opaque) this.#deps.records.problem("SYSTEM ping: data was not echoed");
    this.#pingId = undefined;
    this.info.unansweredPings = 0;
    return true;
  }

  /** Whether this is the id of a SYSTEM frame of this connection: those may be acked and need not be. */
  sentSystem(messageId: string | undefined): boolean {
    return messageId !== undefined && this.#systemIds.has(messageId);
  }

  /** Announces the end, delivers nothing more, and ends after the grace. */
  disconnect(options: DisconnectOptions): void {
    if (this.info.draining) return;
    const { knobs, timers } = this.#deps;
    const reason = options.reason ?? "persistent connection is timeout";
    this.sendSystem("disconnect", { reason }, options.bare ?? knobs.disconnectBare);
    this.info.draining = true;
    const how = options.how ?? knobs.disconnectClose;
    this.#disarm.push(timers.after(options.graceMs ?? knobs.disconnectGraceMs, () => this.close(how)));
  }

  /** Reads and answers nothing more; TCP stays open. */
  halfOpen(): void {
    this.info.mode = "half-open";
    this.#ws.pause();
    this.#socket.pause();
  }

  /** Pongs, but no frames. */
  zombie(): void {
    this.info.mode = "zombie";
  }

  close(how: CloseHow): void {
    if (!this.info.live) return;
    this.info.closedBy = "server";
    if (this.info.mode === "half-open") {
      this.#ws.resume();
      this.#socket.resume();
    }
    if (how === "rst" || how === 1006) {
      this.info.closeCode = 1006;
      if (how === "rst") this.#socket.resetAndDestroy();
      else this.#socket.end(() => this.#socket.destroy());
    } else {
      this.info.closeCode = how;
      this.#ws.close(how);
    }
  }

  destroy(): void {
    this.info.closedBy = "server";
    this.#ws.terminate();
    this.#socket.destroy();
  }
}
