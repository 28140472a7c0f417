import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SimulatorKnobs } from "../../src/sandbox/dingtalk-knobs.ts";
import { oddFrames } from "../../src/sandbox/dingtalk-oddities.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, cardTopic, connect, type Client } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
let client: Client;
const start = async (knobs: Partial<SimulatorKnobs> = {}): Promise<void> => {
  await sim?.close();
  sim = await startDingtalkSimulator({ apps: [app], knobs });
  client = await connect(sim);
};
const received = (n: number): Promise<void> => expect.poll(() => client.messages.length, { interval: 2 }).toBe(n);

beforeEach(() => start());
afterEach(() => sim.close());

describe("acks", () => {
  it("are matched to their message and timed", async () => {
    const handle = await sim.say({ text: "x" });
    await received(1);
    client.ack(client.messages[0]!);
    const ack = await handle.acked();
    expect(ack).toMatchObject({
      code: 200,
      msgId: handle.msgId,
      late: false,
      repeated: false,
      data: { response: null },
    });
    expect(ack.latencyMs).toBeGreaterThan(0);
    expect(sim.acks).toEqual([ack]);
    expect(sim.problems).toEqual([]);
    expect(await handle.acked()).toBe(ack);
  });

  it("that come twice are marked", async () => {
    await sim.say({ text: "x" });
    await received(1);
    client.ack(client.messages[0]!);
    client.ack(client.messages[0]!);
    await expect.poll(() => sim.acks.map((a) => a.repeated)).toEqual([false, true]);
    expect(sim.problems).toEqual([]);
  });

  it("that come late are marked", async () => {
    await start({ ackLateAfterMs: -1 });
    client.autoAck();
    await sim.say({ text: "x" });
    await expect.poll(() => sim.acks).toMatchObject([{ late: true }]);
  });

  it("of card callbacks have a deadline of their own", async () => {
    await start({ cardCallbackLateAfterMs: -1 });
    client.autoAck();
    await sim.say({ text: "x" });
    await sim.push({ type: "CALLBACK", topic: cardTopic, data: { type: "actionCallback" } });
    await expect.poll(() => sim.acks.map((a) => a.late)).toEqual([false, true]);
  });

  it.each([
    ["not json", "not JSON"],
    ["[]", "not a JSON object"],
    [{ headers: { messageId: "ID", contentType: "application/json" }, data: "{}" }, "code is not a number"],
    [
      { code: "200", headers: { messageId: "ID", contentType: "application/json" }, data: "{}" },
      "code is not a number",
    ],
    [{ code: 200, data: "{}" }, "headers is not an object"],
    [{ code: 200, headers: { contentType: "application/json" }, data: "{}" }, "messageId is not a string"],
    [{ code: 200, headers: { messageId: "ID" }, data: "{}" }, "contentType is not"],
    [{ code: 200, headers: { messageId: "ID", contentType: "application/json" }, data: {} }, "data is not a string"],
    [{ code: 200, headers: { messageId: "ID", contentType: "application/json" }, data: "{" }, "data is not JSON"],
    [{ code: 200, headers: { messageId: "other", contentType: "application/json" }, data: "{}" }, "unknown messageId"],
  ])("%j is malformed and does not count", async (frame, reason) => {
    const handle = await sim.say({ text: "x" });
    client.send(JSON.parse(JSON.stringify(frame).replace("ID", handle.messageIds[0] ?? "")) as string | object);
    await expect.poll(() => sim.acks).toMatchObject([{ malformed: expect.stringContaining(reason) }]);
    expect(sim.problems).toEqual([expect.stringContaining(reason)]);
    await expect(handle.acked(1)).rejects.toThrow("ack of");
  });

  it("must be text", async () => {
    const handle = await sim.say({ text: "x" });
    const headers = { messageId: handle.messageIds[0], contentType: "application/json" };
    client.ws.send(Buffer.from(JSON.stringify({ code: 200, headers, data: "{}" })));
    await expect.poll(() => sim.problems).toEqual(["malformed ack: sent as a binary message"]);
  });

  it("must use the connection that the frame came on", async () => {
    const handle = await sim.say({ text: "x" });
    await received(1);
    const other = await connect(sim);
    other.ack(client.messages[0]!);
    await expect.poll(() => sim.problems).toEqual([expect.stringContaining("another connection")]);
    client.ack(client.messages[0]!);
    await handle.acked();
  });

  it("of events need a status", async () => {
    const handle = await sim.push({ type: "EVENT", topic: "*", data: {} });
    await received(1);
    client.ack(client.messages[0]!, { response: null });
    await expect.poll(() => sim.problems).toEqual([expect.stringContaining("neither SUCCESS nor LATER")]);
    client.ack(client.messages[0]!, { status: "SUCCESS" });
    await handle.acked();
  });
});

describe("redelivery", () => {
  it("repeats an unacked message once: new messageId, same msgId, same body", async () => {
    await start({ redeliverAfterMs: 10 });
    const handle = await sim.say({ text: "x" });
    await received(2);
    const [first, again] = client.messages;
    expect(again?.headers["messageId"]).not.toBe(first?.headers["messageId"]);
    expect(again?.data).toBe(first?.data);
    expect(handle.messageIds).toEqual([first?.headers["messageId"], again?.headers["messageId"]]);
    expect(sim.pushes.map((p) => [p.attempt, p.msgId])).toEqual([
      [1, handle.msgId],
      [2, handle.msgId],
    ]);
    client.ack(first!);
    await handle.acked();
  });

  it("stops after the configured number", async () => {
    await start({ redeliverAfterMs: 5, redeliveries: 3 });
    await sim.say({ text: "x" });
    await received(4);
    const fence = await sim.push({ type: "EVENT", topic: "*", data: {} });
    await expect.poll(() => sim.pushes.filter((p) => p.msgId === fence.msgId)).toHaveLength(4);
    expect(sim.pushes).toHaveLength(8);
  });

  it("may keep the messageId", async () => {
    await start({ redeliverAfterMs: 10, redeliverSameMessageId: true });
    await sim.say({ text: "x" });
    await received(2);
    expect(client.messages[0]?.headers["messageId"]).toBe(client.messages[1]?.headers["messageId"]);
  });

  it("does not happen after an ack", async () => {
    await start({ redeliverAfterMs: 20 });
    const acked = await sim.say({ text: "acked" });
    await received(1);
    client.ack(client.messages[0]!);
    await acked.acked();
    const open = await sim.say({ text: "open" });
    await sim.waitFor("redelivered", (p) => p.msgId === open.msgId);
    expect(sim.pushes.map((p) => p.msgId)).toEqual([acked.msgId, open.msgId, open.msgId]);
  });

  it("never happens in the fire-forget preset", async () => {
    await start({ redeliverAfterMs: 1, redeliveries: 0 });
    await sim.say({ text: "x" });
    // Another message, sent when repeating is on again, shows that the time for it has passed.
    sim.setKnobs({ redeliveries: 1 });
    const fence = await sim.say({ text: "fence" });
    await sim.waitFor("redelivered", (p) => p.msgId === fence.msgId);
    expect(sim.pushes).toHaveLength(3);
  });

  it.each([
    ["code 500", { response: null }, { code: 500 }, false],
    ["LATER", { status: "LATER" }, {}, true],
  ])("follows an ack of %s", async (_name, data, more, event) => {
    await start({ redeliverAfterMs: 30 });
    await (event ? sim.push({ type: "EVENT", topic: "*", data: {} }) : sim.say({ text: "x" }));
    await received(1);
    client.ack(client.messages[0]!, data, more);
    await received(2);
    expect(sim.problems).toEqual([]);
  });

  it("keeps the event id", async () => {
    await start({ redeliverAfterMs: 10 });
    await sim.push({ type: "EVENT", topic: "*", data: {} });
    await received(2);
    expect(client.messages[0]?.headers["eventId"]).toBe(client.messages[1]?.headers["eventId"]);
  });

  it("may use another connection, and outlives the first one", async () => {
    await start({ redeliverAfterMs: 40 });
    const handle = await sim.say({ text: "x" });
    await received(1);
    sim.faults.abort();
    const next = await connect(sim);
    await expect.poll(() => next.messages).toHaveLength(1);
    next.ack(next.messages[0]!);
    await handle.acked();
  });

  it("happens although acked, on demand", async () => {
    sim.faults.duplicateAcked(1, 5);
    client.autoAck();
    await sim.say({ text: "x" });
    await received(2);
    expect(client.messages[0]?.data).toBe(client.messages[1]?.data);
    await sim.say({ text: "y" });
    await expect.poll(() => sim.acks).toHaveLength(3);
    expect(client.messages).toHaveLength(3);
  });

  it("is forgotten by reset", async () => {
    await start({ redeliverAfterMs: 15 });
    await sim.say({ text: "x" });
    await received(1);
    sim.reset();
    const fence = await sim.say({ text: "fence" });
    await sim.waitFor("redelivered", (p) => p.msgId === fence.msgId);
    expect(sim.pushes.every((p) => p.msgId === fence.msgId)).toBe(true);
  });
});

it("keeps no more records than the cap", async () => {
  await start({ maxRecords: 50 });
  client.autoAck();
  for (let i = 0; i < 200; i++) await sim.say({ text: String(i) });
  await expect.poll(() => sim.acks.at(-1)?.msgId).toBe(sim.pushes.at(-1)?.msgId);
  expect(sim.pushes.length).toBeLessThanOrEqual(55);
  expect(sim.acks.length).toBeLessThanOrEqual(55);
});

it("writes every odd frame of the catalogue", async () => {
  const frames = Object.values(oddFrames);
  for (const frame of frames) await sim.pushFrame(frame);
  await expect.poll(() => client.raw).toHaveLength(frames.length);
  expect(client.raw.at(-1)?.data.length).toBeLessThan(200_000);
  expect(Buffer.byteLength(client.raw.at(-1)?.data ?? "")).toBeGreaterThan(200_000);
});
