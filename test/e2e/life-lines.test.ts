import { expect, it, onTestFinished } from "vitest";
import { startBridge } from "../support/bridge.ts";

const sorted = (lines: string[]): string[] => lines.toSorted((a, b) => a.localeCompare(b));

it("one id finds the whole life of a message in the log, its answer included", async () => {
  const bridge = await startBridge({ gateway: { mode: { kind: "held", times: 1, retryAfterS: 0 } } });
  onTestFinished(() => bridge.close());
  const { msgId = "" } = await bridge.dingtalk.say({ text: "hi" });
  await expect.poll(() => bridge.logs.text).toContain("message delivered");
  const life = bridge.logs.lines.filter((line) => JSON.stringify(line).includes(msgId));
  const answer = life.find(({ msg }) => msg === "message taken from the gateway")?.["entryId"];
  // What one message does at the same time as another may stand in another order.
  expect(sorted(life.map(({ msg }) => String(msg)))).toEqual(
    sorted([
      "message received and stored",
      "message acked",
      "attempt begins",
      "entry is tried again later",
      "attempt begins",
      "message taken by the gateway",
      "message taken from the gateway",
      "attempt begins",
      "part sent",
      "message delivered",
    ]),
  );
  expect(life).toContainEqual(
    expect.objectContaining({ msg: "part sent", entryId: answer, part: 1, of: 1, route: "webhook" }),
  );
  expect(life).toContainEqual(expect.objectContaining({ msg: "message delivered", level: 30, route: "webhook" }));
  expect(life[0]).toMatchObject({ msg: "message received and stored", entryId: `main:${msgId}` });
});

it("and says what the gateway decided", async () => {
  const body = '{"decision":"denied","reason":"dm_policy_pairing_required"}';
  const bridge = await startBridge({
    gateway: { mode: { kind: "answer", status: 200, body, contentType: "application/json" } },
  });
  onTestFinished(() => bridge.close());
  await bridge.dingtalk.say({ text: "hi" });
  const taken = { msg: "message taken by the gateway", decision: "denied", reason: "dm_policy_pairing_required" };
  await expect.poll(() => bridge.logs.lines).toContainEqual(expect.objectContaining(taken));
});
