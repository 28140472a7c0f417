import { afterEach, describe, expect, it, vi } from "vitest";
import type { WebSocket } from "ws";
import type { StreamSessionOptions } from "../../src/dingtalk/stream-session.ts";
import { type Made, type RawServer, frame, makeSession, robotTopic, startRawServer } from "./stream-support.ts";

const made: Made[] = [];
const servers: RawServer[] = [];

afterEach(async () => {
  for (const one of made.splice(0)) await one.close();
  for (const server of servers.splice(0)) await server.close();
});

async function serve(options: Parameters<typeof startRawServer>[0] = {}): Promise<RawServer> {
  const server = await startRawServer(options);
  servers.push(server);
  return server;
}

async function begin(server: RawServer, more: Partial<StreamSessionOptions> = {}): Promise<Made> {
  const one = makeSession(server.url, more);
  made.push(one);
  await one.session.start();
  return one;
}

async function live(server: RawServer, more: Partial<StreamSessionOptions> = {}): Promise<[Made, WebSocket]> {
  const one = await begin(server, more);
  await vi.waitFor(() => expect(server.live()).toBe(1));
  const [ws] = server.sockets;
  if (ws === undefined) throw new Error("no socket");
  return [one, ws];
}

const strictlyAlternates = (attempts: readonly string[]): boolean =>
  attempts.every((attempt, index) => attempt === (index % 2 === 0 ? "open" : "upgrade"));

describe("one attempt at a time", () => {
  it.each([401, 409, 502])("when the upgrade is refused with %i", async (status) => {
    const server = await serve({
      refuse: (socket, attempt) => {
        if (attempt > 8) return false;
        socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno`);
        return true;
      },
    });
    const one = await begin(server, { random: () => 0 });
    await vi.waitFor(() => expect(one.session.state).toBe("connected"));
    expect(server.attempts).toHaveLength(18);
    expect(strictlyAlternates(server.attempts)).toBe(true);
    expect(server.mostLive()).toBe(1);
    const failed = one.lines("stream not connected");
    expect(failed).toHaveLength(8);
    expect(failed[0]).toMatchObject({ code: "stream_handshake_failed" });
    expect(String(failed[0]?.["reason"])).toContain(`status ${status}`);
    expect(await one.count("streamGaps")).toBe(1);
  });

  it("when the upgrade is reset, never answered, trickles, or is no WebSocket at all", async () => {
    const answers = [
      (socket: { destroy: () => void }) => socket.destroy(),
      () => {},
      (socket: { write: (text: string) => unknown; on: (event: "close", listener: () => void) => unknown }) => {
        socket.write("HTTP/1.1 101 Switching Protocols\r\n");
        const timer = setInterval(() => socket.write("X-A: b\r\n"), 10);
        socket.on("close", () => clearInterval(timer));
      },
      (socket: { end: (text: string) => unknown }) =>
        socket.end(
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
        ),
      (socket: { end: (text: string) => unknown }) => socket.end("nonsense\r\n\r\n"),
      (socket: { end: (text: string) => unknown }) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    const server = await serve({
      refuse: (socket, attempt) => {
        const answer = answers[attempt - 1];
        answer?.(socket);
        return answer !== undefined;
      },
    });
    const one = await begin(server, { timings: { handshakeTimeoutMs: 150 } });
    await vi.waitFor(() => expect(one.session.state).toBe("connected"), { timeout: 5_000 });
    expect(strictlyAlternates(server.attempts)).toBe(true);
    expect(one.lines("stream not connected").map((line) => line["code"])).toEqual([
      "stream_unreachable",
      "stream_timeout",
      "stream_timeout",
      "stream_handshake_failed",
      "stream_bad_answer",
      "stream_handshake_failed",
    ]);
  });

  it("when connections are accepted and cut at once", async () => {
    const server = await serve({ accept: (ws, _request, attempt) => attempt <= 10 && ws.terminate() });
    const one = await begin(server);
    await vi.waitFor(() => expect(server.sockets).toHaveLength(11));
    await vi.waitFor(() => expect(server.live()).toBe(1));
    expect(strictlyAlternates(server.attempts)).toBe(true);
    expect(server.mostLive()).toBe(1);
    expect(await one.count("streamGaps")).toBe(10);
  });
});

describe("frames that cannot be used", () => {
  it("are counted and logged once a minute; the connection lives and works", async () => {
    const server = await serve();
    const [one, ws] = await live(server);
    for (let round = 0; round < 20; round += 1) {
      ws.send("{");
      ws.send("");
      ws.send("null");
      ws.send(Buffer.from([1, 2, 3]));
      ws.send(frame("CALLBACK", robotTopic, undefined));
      ws.send(JSON.stringify({ type: "CALLBACK" }));
      ws.send(`"${"x".repeat(1024 * 1024)}"`);
      ws.ping();
      ws.pong();
    }
    ws.send(frame("CALLBACK", robotTopic, "good"));
    await vi.waitFor(() => expect(server.received).toMatchObject([{ code: 200, headers: { messageId: "good" } }]));
    expect(await one.count("streamInvalid", { reason: "not_json" })).toBe(40);
    expect(await one.count("streamInvalid", { reason: "binary" })).toBe(20);
    expect(await one.count("streamInvalid", { reason: "no_message_id" })).toBe(40);
    expect(await one.count("streamInvalid", { reason: "too_large" })).toBe(20);
    expect(await one.count("streamInvalid", { reason: "not_an_object" })).toBe(20);
    expect(one.lines("frame that cannot be used")).toHaveLength(5);
    expect(server.sockets).toHaveLength(1);
  });

  it("are answered 404 where they have an id", async () => {
    const server = await serve();
    const [, ws] = await live(server);
    ws.send(frame("NEWS", "x", "id1"));
    await vi.waitFor(() => expect(server.received).toMatchObject([{ code: 404, headers: { messageId: "id1" } }]));
  });

  it("may be so large or so wrong that the socket ends: it is replaced", async () => {
    const server = await serve();
    const [one, ws] = await live(server);
    ws.send("x".repeat(3 * 1024 * 1024));
    await vi.waitFor(() => expect(server.sockets).toHaveLength(2));
    server.sockets[1]?.send(Buffer.from([0xff, 0xfe]), { binary: false });
    await vi.waitFor(() => expect(server.sockets).toHaveLength(3));
    await vi.waitFor(async () => expect(await one.count("streamCloses", { reason: "error" })).toBe(2));
  });

  it("topics that are event names of Node change nothing", async () => {
    const server = await serve();
    const topics: string[] = [];
    const [, ws] = await live(server, {
      onPush: ({ frame }) => {
        topics.push(frame.topic);
        return Promise.resolve({});
      },
    });
    for (const topic of ["error", "newListener", "close", "__proto__", ""])
      ws.send(frame("CALLBACK", topic, `id-${topic}`));
    await vi.waitFor(() => expect(server.received).toHaveLength(5));
    expect(topics).toEqual(["error", "newListener", "close", "__proto__", ""]);
  });

  it("frames in one packet with the upgrade are handled like any other", async () => {
    const server = await serve({ accept: (ws) => ws.send(frame("CALLBACK", robotTopic, "first")) });
    await begin(server);
    await vi.waitFor(() => expect(server.received).toMatchObject([{ code: 200, headers: { messageId: "first" } }]));
  });
});

describe("pulse", () => {
  const timings = { pingEveryMs: 100 };

  it("a server that never pongs is replaced", async () => {
    const server = await serve({ autoPong: false });
    const one = await begin(server, { timings });
    await vi.waitFor(() => expect(server.sockets.length).toBeGreaterThan(1), { timeout: 5_000 });
    expect(await one.count("streamCloses", { reason: "dead" })).toBeGreaterThan(0);
    expect(server.mostLive()).toBe(1);
  });

  it("a server that pongs once and then stops is replaced", async () => {
    const server = await serve({ autoPong: false, accept: (ws) => ws.once("ping", () => ws.pong()) });
    const one = await begin(server, { timings });
    await vi.waitFor(() => expect(server.sockets.length).toBeGreaterThan(1), { timeout: 5_000 });
    expect(await one.count("streamCloses", { reason: "dead" })).toBeGreaterThan(0);
  });

  it("a server that is paused, and so does not even answer the close, is replaced and let go", async () => {
    const server = await serve();
    const [one, ws] = await live(server, { timings });
    ws.pause();
    await vi.waitFor(() => expect(server.sockets).toHaveLength(2), { timeout: 5_000 });
    expect(await one.count("streamCloses", { reason: "dead" })).toBe(1);
    server.sockets[1]?.pause();
    // No deadline: the socket must be cut because the close is not answered.
    await one.session.stop({ signal: new AbortController().signal });
    expect(one.session.state).toBe("stopped");
  });

  it("without pongs, any other byte counts as life", async () => {
    const pings: number[] = [];
    const server = await serve({
      autoPong: false,
      accept: (ws) => {
        ws.on("ping", () => {
          pings.push(1);
          ws.send(frame("SYSTEM", "KEEPALIVE", "k"));
        });
      },
    });
    await begin(server, { timings });
    await vi.waitFor(() => expect(pings.length).toBeGreaterThan(5), { timeout: 5_000 });
    expect(server.sockets).toHaveLength(1);
  });

  it("answers the server's own pings", async () => {
    const server = await serve();
    const [, ws] = await live(server);
    const ponged = new Promise((resolve) => ws.once("pong", (data) => resolve(data.toString())));
    ws.ping("hello");
    expect(await ponged).toBe("hello");
  });

  it("two sessions in one process do not disturb each other", async () => {
    const dead = await serve({ autoPong: false });
    const alive = await serve();
    await begin(dead, { timings });
    const [one] = await live(alive, { timings });
    await vi.waitFor(() => expect(dead.sockets.length).toBeGreaterThan(2), { timeout: 5_000 });
    expect(alive.sockets).toHaveLength(1);
    expect(one.session.health()).toEqual({ status: "ok" });
  });
});

describe("acks", () => {
  it("go to the socket the frame came from, or nowhere", async () => {
    const stored = Promise.withResolvers<object>();
    const server = await serve();
    const [one, ws] = await live(server, { onPush: () => stored.promise });
    ws.send(frame("CALLBACK", robotTopic, "id1"));
    await vi.waitFor(async () => expect(await one.count("streamFrames", { type: "callback" })).toBe(1));
    ws.terminate();
    await vi.waitFor(() => expect(server.sockets).toHaveLength(2));
    await vi.waitFor(() => expect(one.session.state).toBe("connected"));
    stored.resolve({});
    await vi.waitFor(async () => expect(await one.count("acksFailed", { reason: "closed" })).toBe(1));
    server.sockets[1]?.send(frame("SYSTEM", "ping", "p1", { opaque: "1" }));
    await vi.waitFor(() =>
      expect(server.received).toMatchObject([{ headers: { messageId: "p1" }, data: '{"opaque":"1"}' }]),
    );
  });

  it("acks a disconnect that has an id, and lives with one that has none", async () => {
    const server = await serve();
    const [, ws] = await live(server);
    ws.send(frame("SYSTEM", "disconnect", "d1", { reason: "x" }));
    await vi.waitFor(() => expect(server.received).toMatchObject([{ code: 200, headers: { messageId: "d1" } }]));
    await vi.waitFor(() => expect(server.sockets).toHaveLength(2));
    server.sockets[1]?.send(frame("SYSTEM", "disconnect", undefined, { reason: "x" }));
    await vi.waitFor(() => expect(server.sockets).toHaveLength(3));
    expect(server.received).toHaveLength(1);
    expect(server.mostLive()).toBeLessThanOrEqual(2);
  });
});
