import { type Server, type Socket, connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";

/** What the network does. */
export type Fault =
  | { kind: "pass" }
  /** Nothing goes through and nothing is said; bytes wait, as TCP would keep them, until the fault is over. */
  | { kind: "black-hole"; way: "up" | "down" | "both" }
  /** Every piece arrives so much later. */
  | { kind: "latency"; ms: number }
  | { kind: "throttle"; bytesPerSecond: number }
  /** The answer breaks off after so many bytes and both ends are reset; 0 = the request arrived, nothing comes back. */
  | { kind: "cut-answer"; afterBytes: number }
  /** New connections are accepted and reset at once. */
  | { kind: "reset" };

type Way = "up" | "down";

/** One connection through the proxy: what happens to it goes through in order, each thing as the fault of that moment says. */
class Link {
  readonly near: Socket;
  readonly far: Socket;
  /** It became a WebSocket. */
  upgraded = false;
  #fault: Fault;
  #down = 0;
  readonly #turns: Record<Way, Promise<void>> = { up: Promise.resolve(), down: Promise.resolve() };
  #changed = Promise.withResolvers<void>();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(near: Socket, port: number, fault: Fault, onEnd: (link: Link) => void) {
    this.near = near;
    this.#fault = fault;
    this.far = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    for (const socket of [near, this.far]) {
      socket.setNoDelay(true);
      socket.on("close", () => {
        if (near.destroyed && this.far.destroyed) onEnd(this);
      });
    }
    this.#pipe(near, this.far, "up");
    this.#pipe(this.far, near, "down");
  }

  set(fault: Fault): void {
    this.#fault = fault;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  reset(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.near.resetAndDestroy();
    this.far.resetAndDestroy();
  }

  #pipe(from: Socket, to: Socket, way: Way): void {
    from.on("data", (piece: Buffer) => {
      if (way === "up") this.upgraded ||= /^upgrade: websocket/im.test(piece.toString("latin1"));
      from.pause();
      this.#then(way, async () => {
        await this.#pass(piece, to, way);
        from.resume();
      });
    });
    from.on("end", () => this.#then(way, () => void to.end()));
    // A reset is followed by `close`, which says whether there was one.
    from.on("error", () => from.destroy());
    from.on("close", (failed) => this.#then(way, () => void (failed ? to.resetAndDestroy() : to.destroy())));
  }

  /** After what went before on this way, and not through a black hole: it swallows the end of a connection, too. */
  #then(way: Way, step: () => void | Promise<void>): void {
    this.#turns[way] = this.#turns[way].then(async () => {
      while (this.#fault.kind === "black-hole" && (this.#fault.way === way || this.#fault.way === "both")) {
        await this.#changed.promise;
      }
      await step();
    });
  }

  async #pass(piece: Buffer, to: Socket, way: Way): Promise<void> {
    const fault = this.#fault;
    if (fault.kind === "latency") await this.#wait(fault.ms);
    if (fault.kind === "throttle") await this.#wait((piece.length / fault.bytesPerSecond) * 1_000);
    const left = fault.kind === "cut-answer" && way === "down" ? fault.afterBytes - this.#down : Infinity;
    this.#down += way === "down" ? piece.length : 0;
    if (piece.length <= left) to.write(piece);
    // The half goes out before the reset, which would throw it away.
    else to.write(piece.subarray(0, Math.max(0, left)), () => this.reset());
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, ms);
      this.#timers.add(timer);
    });
  }
}

/** A TCP proxy on loopback that can spoil what goes through it, as networks do. After pg-boss's halfOpenProxy. */
export class FaultProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #port = 0;
  #fault: Fault = { kind: "pass" };
  /** Where it leads; may change. */
  target: number;
  /** Connections taken so far. */
  accepted = 0;

  private constructor(target: number) {
    this.target = target;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#take(socket));
  }

  static async start(target = 0): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    await proxy.listen();
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Connections that are open now; WebSockets only, or those that are none, when asked for. */
  open(upgraded?: boolean): number {
    return [...this.#links].filter((link) => upgraded === undefined || link.upgraded === upgraded).length;
  }

  /** For the connections that are open and for those to come. */
  set(fault: Fault): void {
    this.#fault = fault;
    for (const link of this.#links) link.set(fault);
  }

  /** For WebSockets that are open now, and for nothing else. */
  setWebSockets(fault: Fault): void {
    for (const link of this.#links) if (link.upgraded) link.set(fault);
  }

  /** For connections that are no WebSocket, and for those to come. */
  setHttp(fault: Fault): void {
    this.#fault = fault;
    for (const link of this.#links) if (!link.upgraded) link.set(fault);
  }

  /** Resets every open connection. */
  reset(): void {
    for (const link of this.#links) link.reset();
  }

  /** The far side learns of ends that a black hole swallowed, as a server's own time-outs tell it in the end. */
  bury(): void {
    for (const link of this.#links) if (link.near.destroyed) link.reset();
  }

  /** Nobody listens: new connections are refused, those that are open stay. */
  refuse(): void {
    this.#server.close();
  }

  /** Listens, after `refuse` on the same port again. */
  async listen(): Promise<void> {
    if (this.#server.listening) return;
    await new Promise<void>((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.reset();
    await closed;
  }

  #take(socket: Socket): void {
    this.accepted += 1;
    if (this.#fault.kind === "reset") {
      socket.on("error", () => socket.destroy());
      socket.resetAndDestroy();
      return;
    }
    const link = new Link(socket, this.target, this.#fault, (ended) => this.#links.delete(ended));
    this.#links.add(link);
  }
}
