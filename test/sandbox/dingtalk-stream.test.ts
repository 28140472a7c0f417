import { createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { SimulatorKnobs } from "../../src/sandbox/dingtalk-knobs.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, appKey, call, Client, connect, openBody, openTicket, robotTopic } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
const start = async (knobs: Partial<SimulatorKnobs> = {}): Promise<void> => {
  await sim?.close();
  sim = await startDingtalkSimulator({ apps: [app, { appKey: "dingapp2", appSecret: "secret-2" }], knobs });
};
const second = { clientId: "dingapp2", clientSecret: "secret-2" };

beforeEach(() => start());
afterEach(() => sim.close());

describe("connections/open", () => {
  it("gives endpoint and ticket, and notes who asked", async () => {
    const client = await connect(sim);
    expect(client.ws.url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/connect\?ticket=[0-9a-f-]{36}$/);
    expect(sim.connections).toMatchObject([{ app: appKey, ua: "test/1.0", localIp: "10.0.0.7", live: true }]);
    expect(sim.problems).toEqual([]);
  });

  it.each([
    [{ clientSecret: "wrong" }, 401, "authFailed"],
    [{ clientId: "nobody" }, 401, "authFailed"],
    [{ subscriptions: undefined }, 400, "invalidParameter.subscriptions"],
    [{ subscriptions: [] }, 400, "invalidParameter.subscriptions"],
    [{ subscriptions: [{ type: "EVENT", topic: "chat" }] }, 400, "invalidParameter.subscriptions"],
    [{ subscriptions: [{ type: "OTHER", topic: "x" }] }, 400, "invalidParameter.subscriptions"],
  ])("refuses %j with %i", async (more, status, code) => {
    const answer = await call(sim, "/v1.0/gateway/connections/open", openBody(more));
    expect(answer).toMatchObject({ status, json: { code } });
    expect(answer.json).toHaveProperty("requestid");
  });

  it("says authFailed in DingTalk's words", async () => {
    const answer = await call(sim, "/v1.0/gateway/connections/open", openBody({ clientSecret: "wrong" }));
    expect(answer.json).toEqual({ code: "authFailed", message: "鉴权失败", requestid: expect.any(String) });
  });

  it.each(["*/*", "text/html"])("answers XML to Accept: %s", async (accept) => {
    const answer = await call(sim, "/v1.0/gateway/connections/open", openBody(), { accept });
    expect(answer.headers.get("content-type")).toContain("xml");
    expect(answer.text).toContain("<ticket>");
    expect(sim.problems).toHaveLength(1);
  });

  it("wants a JSON body", async () => {
    const answer = await call(sim, "/v1.0/gateway/connections/open", "clientId=x", {
      "content-type": "application/x-www-form-urlencoded",
    });
    expect(answer).toMatchObject({ status: 400, json: { code: "Missingbody" } });
  });

  it("keeps secrets out of the records", async () => {
    await connect(sim);
    expect(JSON.stringify(sim.requests)).not.toContain(app.appSecret);
  });
});

describe("tickets", () => {
  it("work once", async () => {
    const url = await openTicket(sim);
    await new Client(url).ready();
    await expect(new Client(url).ready()).rejects.toThrow("refused 401");
  });

  it("are refused when unknown or missing", async () => {
    const endpoint = (await openTicket(sim)).split("?")[0] ?? "";
    await expect(new Client(`${endpoint}?ticket=abc`).ready()).rejects.toThrow("refused 401");
    await expect(new Client(endpoint).ready()).rejects.toThrow("refused 401");
  });

  it("expire", async () => {
    await start({ ticketTtlMs: -1, ticketRefusal: 403 });
    await expect(new Client(await openTicket(sim)).ready()).rejects.toThrow("refused 403");
  });

  it("may be refused by closing after the upgrade", async () => {
    await start({ ticketTtlMs: -1, ticketRefusal: "close" });
    const client = await new Client(await openTicket(sim)).ready();
    await expect.poll(() => client.closed).toEqual({ code: 1008 });
    expect(sim.allConnections).toEqual([]);
  });
});

describe("frames", () => {
  it("have the shape of the real log", async () => {
    const client = await connect(sim);
    const handle = await sim.say({ text: "你好" });
    await expect.poll(() => client.messages).toHaveLength(1);
    expect(client.messages[0]).toEqual({
      specVersion: "1.0",
      type: "CALLBACK",
      headers: {
        appId: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
        connectionId: sim.connections[0]?.id,
        contentType: "application/json",
        messageId: handle.messageIds[0],
        time: expect.stringMatching(/^\d{13}$/),
        topic: robotTopic,
      },
      data: expect.any(String),
    });
    expect(handle.messageIds[0]).toMatch(/^[0-9a-f]{8}_[0-9a-f]+_[0-9a-f]{11}_[0-9a-f]+$/);
    expect(client.body()).toEqual(handle.body);
  });

  it("reach only who subscribed", async () => {
    await connect(sim, { subscriptions: [{ type: "EVENT", topic: "*" }] });
    expect(await sim.say({ text: "x" })).toMatchObject({ delivered: false, reason: "not_subscribed" });
    expect(await sim.push({ type: "EVENT", topic: "*", data: { a: 1 } })).toMatchObject({ delivered: true });
  });

  it("of events carry the event headers", async () => {
    const client = await connect(sim);
    const handle = await sim.push({
      type: "EVENT",
      topic: "*",
      data: { a: 1 },
      headers: { eventType: "robot_msg_read" },
    });
    await expect.poll(() => client.messages).toHaveLength(1);
    expect(client.messages[0]?.headers).toMatchObject({
      eventType: "robot_msg_read",
      eventId: handle.msgId,
      eventCorpId: expect.stringMatching(/^ding/),
      eventBornTime: expect.stringMatching(/^\d{13}$/),
    });
  });

  it("go to the apps' own connections", async () => {
    const [one, two] = [await connect(sim), await connect(sim, second)];
    await sim.say({ text: "for two", app: "dingapp2" });
    await expect.poll(() => two.messages).toHaveLength(1);
    expect(one.messages).toEqual([]);
  });

  it("spread over all connections of the app at random", async () => {
    const clients = await Promise.all([connect(sim), connect(sim), connect(sim)]);
    for (let i = 0; i < 300; i++) await sim.say({ text: String(i) });
    await expect.poll(() => clients.reduce((n, c) => n + c.messages.length, 0)).toBe(300);
    for (const client of clients) expect(client.messages.length).toBeGreaterThan(50);
  });

  it("go to the oldest connection when asked", async () => {
    await start({ preferStale: true });
    const [old, young] = [await connect(sim), await connect(sim)];
    for (let i = 0; i < 20; i++) await sim.say({ text: String(i) });
    await expect.poll(() => old.messages).toHaveLength(20);
    expect(young.messages).toEqual([]);
  });

  it("are lost while nobody is connected", async () => {
    expect(await sim.say({ text: "x" })).toMatchObject({ delivered: false, reason: "no_connection" });
    const client = await connect(sim);
    await sim.say({ text: "y" });
    await expect.poll(() => client.messages).toHaveLength(1);
    expect(client.body()).toMatchObject({ text: { content: "y" } });
  });

  it("wait for a connection, in order, when the knob says so", async () => {
    await start({ offline: "queue" });
    for (const text of ["1", "2", "3"]) {
      expect(await sim.say({ text })).toMatchObject({ delivered: false, reason: "queued" });
    }
    const client = await connect(sim);
    await expect.poll(() => client.messages).toHaveLength(3);
    expect([0, 1, 2].map((i) => client.body(i)["text"])).toEqual(["1", "2", "3"].map((content) => ({ content })));
  });
});

describe("raw frames", () => {
  it("are written as they are", async () => {
    const client = await connect(sim);
    await sim.pushFrame("{not json");
    await sim.pushFrame(Buffer.from([0, 1, 2]));
    await sim.pushFrame({ type: "CALLBACK", headers: {}, data: "" });
    await sim.pushFrame(`"${"x".repeat(300_000)}"`);
    await expect.poll(() => client.raw).toHaveLength(4);
    expect(client.raw.map((r) => [r.data.length, r.isBinary])).toEqual([
      [9, false],
      [3, true],
      [42, false],
      [300_002, false],
    ]);
  });

  it("may be acked when they have an id, and are not repeated", async () => {
    await start({ redeliverAfterMs: 1 });
    const client = await connect(sim);
    await sim.pushFrame({ type: "CALLBACK", headers: { messageId: "m1", topic: "/odd" }, data: "{}" });
    await expect.poll(() => client.frames).toHaveLength(1);
    const acked = sim.waitFor("ack");
    client.ack(client.frames[0]!);
    expect(await acked).toMatchObject({ messageId: "m1", code: 200, topic: "/odd" });
    expect(sim.problems).toEqual([]);
  });
});

describe("SYSTEM", () => {
  it("pings, and checks that the client echoes", async () => {
    await start({ pingEveryMs: 20 });
    const client = (await connect(sim)).autoAck();
    await expect.poll(() => client.frames.length).toBeGreaterThan(2);
    expect(client.frames[0]).toMatchObject({ type: "SYSTEM", headers: { topic: "ping" } });
    expect(JSON.parse(client.frames[0]?.data ?? "")).toEqual({ opaque: expect.any(String) });
    expect(sim.problems).toEqual([]);
    expect(sim.acks).toEqual([]);
  });

  it("notes a ping that is not answered and may drop the connection", async () => {
    await start({ pingEveryMs: 20, dropAfterMissedPings: 2 });
    const client = await connect(sim);
    await expect.poll(() => client.closed).toEqual({ code: 1006 });
    expect(sim.problems).toContainEqual(expect.stringContaining("was not answered"));
  });

  it("notes a wrong echo", async () => {
    const client = await connect(sim);
    await sim.pushSystem("ping");
    await expect.poll(() => client.frames).toHaveLength(1);
    const frame = client.frames[0]!;
    client.ack({ ...frame, data: '{"opaque":"other"}' });
    await expect.poll(() => sim.problems).toContainEqual(expect.stringContaining("not echoed"));
  });

  it("answers WebSocket pings", async () => {
    const client = await connect(sim);
    client.ws.ping();
    await expect.poll(() => client.pongs).toBe(1);
    expect(sim.connections[0]?.wsPings).toBe(1);
  });

  it("sends CONNECTED, REGISTERED and KEEPALIVE only when switched on", async () => {
    const silent = await connect(sim);
    await sim.pushSystem("ping");
    await expect.poll(() => silent.frames.map((f) => f.headers["topic"])).toEqual(["ping"]);
    await start({ sendConnected: true, sendRegistered: true, keepAliveEveryMs: 10 });
    const client = await connect(sim);
    await expect
      .poll(() => client.frames.map((f) => f.headers["topic"]).slice(0, 3))
      .toEqual(["CONNECTED", "REGISTERED", "KEEPALIVE"]);
  });

  it("sends unknown topics, and takes their ack or none", async () => {
    const client = await connect(sim);
    await sim.pushSystem("whatever", { data: { a: 1 } });
    await expect.poll(() => client.frames).toHaveLength(1);
    client.ack(client.frames[0]!);
    client.ws.ping();
    await expect.poll(() => client.pongs).toBe(1);
    expect(sim.problems).toEqual([]);
  });
});

describe("waiting", () => {
  it("for the next event does not see the past; `until` does", async () => {
    await connect(sim);
    expect(await sim.until("connected")).toBe(sim.connections[0]);
    await expect(sim.waitFor("connected", () => true, 1)).rejects.toThrow('within 1 ms no "connected"');
    const next = sim.waitFor("connected", (info) => info.app === "dingapp2");
    await connect(sim, second);
    expect((await next).app).toBe("dingapp2");
  });
});

it("names its public address in endpoints and webhooks", async () => {
  await sim.close();
  sim = await startDingtalkSimulator({ apps: [app], publicUrl: "http://dingtalk.test:8080" });
  expect(await openTicket(sim)).toMatch(/^ws:\/\/dingtalk\.test:8080\/connect\?ticket=/);
  expect((await sim.say({ text: "x" })).body).toMatchObject({
    sessionWebhook: expect.stringContaining("http://dingtalk.test:8080/robot/sendBySession"),
  });
});

describe("closing", () => {
  it("leaves no port, no socket and no pending wait", async () => {
    const client = await connect(sim);
    await sim.say({ text: "never acked" });
    sim.faults.open({ kind: "hang" });
    const waiting = Promise.allSettled([
      sim.waitFor("ack", () => true, 60_000),
      call(sim, "/v1.0/gateway/connections/open", openBody()),
    ]);
    await expect.poll(() => sim.requests.length).toBe(2);
    const port = Number(new URL(sim.url).port);
    await sim.close();
    expect(await waiting).toMatchObject([
      { status: "rejected", reason: new Error("the simulator was closed") },
      { status: "rejected" },
    ]);
    await vi.waitFor(() => expect(client.closed).toEqual({ code: 1006 }));
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    await new Promise((resolve) => server.close(resolve));
    await sim.close();
  });
});
