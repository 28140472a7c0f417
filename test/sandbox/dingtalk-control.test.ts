import { afterEach, beforeEach, expect, it } from "vitest";
import { controlSimulator, type ControlEvent, type SimulatorControl } from "../../src/sandbox/dingtalk-control.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, call, connect, openBody } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
let control: SimulatorControl;

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app] });
  control = controlSimulator(sim.url);
});
afterEach(() => sim.close());

it("says, pushes and lists", async () => {
  const client = (await connect(sim)).autoAck();
  const handle = await control.say({ text: "你好", group: "测试群" });
  expect(handle).toMatchObject({ delivered: true, msgId: expect.any(String), body: { text: { content: " 你好" } } });
  await control.push({ push: { type: "CALLBACK", topic: "/v1.0/card/instances/callback", data: { a: 1 } } });
  const [connectionId] = ((await control.push({ text: "{odd" })) as { connectionIds: string[] }).connectionIds;
  await control.push({ base64: "AAE=" });
  await control.push({ frame: { type: "GOSSIP" } });
  await control.push({ system: "ping" });
  await expect.poll(() => client.raw).toHaveLength(6);
  await expect.poll(() => control.list("acks")).toHaveLength(2);
  const acks = await control.list("acks");
  expect(acks[0]).toMatchObject({ msgId: handle.msgId, code: 200 });
  expect(await control.list("acks", acks[0]?.seq)).toEqual([acks[1]]);
  expect(await control.list("connections")).toMatchObject([{ id: connectionId, live: true }]);
  expect(await control.list("problems")).toEqual([]);
  expect(await control.usage()).toEqual({ calls: 0, units: 1 });
});

it("plans faults, turns knobs, resets", async () => {
  await control.fault("open", { kind: "error", error: "unavailable", count: 1 });
  const open = (): Promise<{ status: number }> => call(sim, "/v1.0/gateway/connections/open", openBody());
  expect([(await open()).status, (await open()).status]).toEqual([503, 200]);
  expect(await control.fault("disconnect", {})).toBe(0);
  const knobs = await control.setKnobs({ qps: 1, monthlyCalls: Number.POSITIVE_INFINITY });
  expect(knobs).toMatchObject({ qps: 1, monthlyCalls: null });
  expect(sim.knobs).toMatchObject({ qps: 1, monthlyCalls: Number.POSITIVE_INFINITY });
  expect(await control.list("requests")).toHaveLength(2);
  await control.reset();
  expect(await control.list("requests")).toEqual([]);
});

it("says why it cannot", async () => {
  await expect(control.say({ app: "nobody" })).rejects.toThrow("the simulator has no app");
  await expect(control.push({})).rejects.toThrow("needed");
  await expect(controlSimulator(`${sim.url}/nowhere`).usage()).rejects.toThrow("404");
});

it("streams events", async () => {
  const events: ControlEvent[] = [];
  const some: ControlEvent[] = [];
  const stop = await control.watch((event) => events.push(event));
  await control.watch((event) => some.push(event), ["ack"]);
  (await connect(sim)).autoAck();
  await sim.say({ text: "x" });
  await expect.poll(() => some).toHaveLength(1);
  await expect.poll(() => events.map((e) => e.event)).toEqual(["request", "connected", "pushed", "ack"]);
  stop();
  await sim.say({ text: "y" });
  await expect.poll(() => some).toHaveLength(2);
  expect(events).toHaveLength(4);
  // The second stream ends with the simulator.
});
