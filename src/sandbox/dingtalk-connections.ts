import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocketServer, type RawData, type WebSocket } from "ws";
import { Connection, type ConnectionDeps } from "./dingtalk-connection.ts";
import type { ConnectFault } from "./dingtalk-faults.ts";
import type { CloseHow } from "./dingtalk-knobs.ts";
import { CappedMap } from "./dingtalk-records.ts";
import type { Ticket } from "./dingtalk-tickets.ts";
import type { ConnectionChoice } from "./dingtalk-types.ts";
import type { App } from "./dingtalk-world.ts";

interface Ghosts {
  until: number;
  share: number;
}

/** What the pool tells the rest. */
export interface ConnectionListener {
  /** A text or binary message of the client. */
  message(connection: Connection, text: string, isBinary: boolean): void;
  opened(connection: Connection): void;
}

/** Where a push goes: a connection, the void (the server believes in a connection that is dead), or nowhere. */
export type Target =
  | { kind: "connection"; connection: Connection; intoVoid: boolean; lost: boolean }
  | { kind: "none"; reason: "no_connection" | "not_subscribed" };

/** The WebSocket side: handshakes, live connections, and the choice among them. */
export class Connections {
  readonly #deps: ConnectionDeps;
  readonly #listener: ConnectionListener;
  readonly #server: WebSocketServer;
  readonly #live = new Map<string, Set<Connection>>();
  /** Closed connections that a stale server view still uses. */
  readonly #closed: CappedMap<string, Connection>;
  readonly #ghosts = new Map<string, Ghosts>();
  readonly #loseFirst = new Map<string, number>();

  constructor(deps: ConnectionDeps, listener: ConnectionListener) {
    this.#deps = deps;
    this.#listener = listener;
    this.#server = new WebSocketServer({ noServer: true, clientTracking: false, maxPayload: 16 * 1024 * 1024 });
    this.#closed = new CappedMap(() => 1_000);
  }

  /** The upgrade of `GET /connect?ticket=`. */
  upgrade(request: IncomingMessage, duplex: Duplex, head: Buffer): void {
    const socket = duplex as Socket;
    socket.on("error", () => socket.destroy());
    const url = new URL(request.url ?? "/", "http://localhost");
    if (url.pathname !== "/connect") {
      this.#deps.records.problem(`WebSocket upgrade of unknown path ${url.pathname}`);
      return refuse(socket, 404);
    }
    if (request.headers["sec-websocket-protocol"] !== undefined) {
      this.#deps.records.problem("WebSocket handshake with a sub-protocol");
    }
    const ticket = this.#deps.tickets.use(url.searchParams.get("ticket"));
    const fault = this.#deps.faults.takeConnect(ticket?.app.appKey);
    const delay = this.#deps.knobs.handshakeDelayMs + (fault?.kind === "slow" ? fault.delayMs : 0);
    const go = (): void => {
      if (socket.destroyed) return;
      if (fault && this.#spoiled(socket, fault)) return;
      const refusal = this.#deps.knobs.ticketRefusal;
      if (!ticket && refusal !== "close") return refuse(socket, refusal);
      this.#server.handleUpgrade(request, socket, head, (ws) => {
        if (!ticket) return ws.close(1008);
        const connection = this.#open(ws, socket, ticket);
        if (fault?.kind === "close") this.#deps.timers.after(fault.afterMs ?? 0, () => connection.close(fault.how));
      });
    };
    if (delay > 0) this.#deps.timers.after(delay, go);
    else go();
  }

  #spoiled(socket: Socket, fault: ConnectFault): boolean {
    if (fault.kind === "status") refuse(socket, fault.status);
    else if (fault.kind === "reset") socket.resetAndDestroy();
    else return fault.kind === "hang";
    return true;
  }

  #open(ws: WebSocket, socket: Socket, ticket: Ticket): Connection {
    const connection = new Connection(this.#deps, ticket, ws, socket);
    const { appKey } = ticket.app;
    let live = this.#live.get(appKey);
    if (!live) this.#live.set(appKey, (live = new Set()));
    live.add(connection);
    ws.on("message", (data: RawData, isBinary: boolean) => {
      this.#listener.message(connection, (data as Buffer).toString("utf8"), isBinary);
    });
    ws.on("close", () => {
      live.delete(connection);
      this.#closed.set(connection.info.id, connection);
    });
    connection.start();
    this.#deps.records.connections.add(connection.info);
    this.#deps.records.emit("connected", connection.info);
    this.#listener.opened(connection);
    return connection;
  }

  /** Live connections: one by id, of an app, or all. */
  live(choice: ConnectionChoice = {}): Connection[] {
    const sets =
      choice.app === undefined
        ? [...this.#live.values()]
        : [this.#live.get(this.#deps.world.app(choice.app).appKey) ?? new Set<Connection>()];
    return sets
      .flatMap((set) => [...set])
      .filter((connection) => choice.connectionId === undefined || connection.info.id === choice.connectionId);
  }

  /**
   * One random healthy connection of the app that subscribed to the topic. A half-open or zombie one is used, in vain, only
   * while there is no other: the server does not know yet.
   */
  choose(app: App, type: string, topic: string): Target {
    const candidates: Connection[] = [];
    const dead: Connection[] = [];
    let subscribed = false;
    for (const connection of this.#live.get(app.appKey) ?? []) {
      if (connection.info.draining) continue;
      if (!connection.subscribes(type, topic)) continue;
      subscribed = true;
      if (connection.info.mode === "normal") candidates.push(connection);
      else dead.push(connection);
    }
    const ghost = this.#ghost(app);
    if (ghost) return { kind: "connection", connection: ghost, intoVoid: true, lost: false };
    const healthy = candidates.length > 0 ? candidates : dead;
    const chosen = this.#deps.knobs.preferStale
      ? [...dead, ...candidates].sort((a, b) => a.info.seq - b.info.seq)[0]
      : healthy[Math.floor(this.#deps.random() * healthy.length)];
    if (!chosen) {
      const any = (this.#live.get(app.appKey)?.size ?? 0) > 0;
      return {
        kind: "none",
        reason: any && !subscribed && !this.#allDraining(app) ? "not_subscribed" : "no_connection",
      };
    }
    const left = this.#loseFirst.get(app.appKey) ?? 0;
    if (left > 0 && chosen.reconnected) {
      this.#loseFirst.set(app.appKey, left - 1);
      return { kind: "connection", connection: chosen, intoVoid: true, lost: true };
    }
    return { kind: "connection", connection: chosen, intoVoid: chosen.info.mode !== "normal", lost: false };
  }

  #allDraining(app: App): boolean {
    return [...(this.#live.get(app.appKey) ?? [])].every((connection) => connection.info.draining);
  }

  #ghost(app: App): Connection | undefined {
    const ghosts = this.#ghosts.get(app.appKey);
    if (!ghosts || performance.now() >= ghosts.until || this.#deps.random() >= ghosts.share) return undefined;
    return [...this.#closed.values()].findLast((connection) => connection.app === app);
  }

  /** For `forMs` a share of the pushes goes to a connection that is already closed. */
  haunt(app: App, forMs: number, share: number): void {
    this.#ghosts.set(app.appKey, { until: performance.now() + forMs, share });
  }

  /** The first pushes to connections that are opened from now on are lost. */
  loseFirst(app: App, count: number): void {
    this.#loseFirst.set(app.appKey, count);
    for (const connection of this.live({ app: app.appKey })) connection.reconnected = false;
  }

  /** Applies changed intervals to the connections that are open. */
  rearm(): void {
    for (const connection of this.live()) connection.rearm();
  }

  clearFaults(): void {
    this.#ghosts.clear();
    this.#loseFirst.clear();
  }

  abort(choice: ConnectionChoice, how: CloseHow): number {
    const chosen = this.live(choice);
    for (const connection of chosen) connection.close(how);
    return chosen.length;
  }

  /** Destroys every socket at once. */
  close(): void {
    for (const connection of this.live()) connection.destroy();
    this.#server.close();
  }
}

function refuse(socket: Socket, status: number): void {
  socket.end(`HTTP/1.1 ${status} Refused\r\nServer: DingTalk/1.0.0\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
