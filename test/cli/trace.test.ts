import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, expect, it, onTestFinished } from "vitest";
import type { Trace } from "../../src/app.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { cli, envOf } from "./support.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

const SETTLED = { timeout: 15_000 };

function directory(): string {
  const place = mkdtempSync(join(tmpdir(), "bridge-trace-"));
  onTestFinished(() => rmSync(place, { recursive: true, force: true }));
  return place;
}

async function traces(args: string[], running: TestBridge): Promise<Trace[]> {
  const { stdout, stderr } = await cli(["trace", "--json", ...args], { env: envOf(running) });
  if (stderr !== "") throw new Error(stderr);
  return JSON.parse(stdout) as Trace[];
}

const stepsOf = (trace: Trace | undefined): string[] => trace?.steps.map(({ step }) => step) ?? [];

it("shows a message's life and that of its reply, beside the running bridge", async () => {
  const running = (bridge = await startBridge());
  const { msgId = "" } = await running.dingtalk.say({ text: "机密的问题" });
  await running.dingtalk.until("sent");
  await expect.poll(async () => stepsOf((await traces([msgId], running))[0]), SETTLED).toContain("delivered");
  // By every name that it has.
  const reply = (await traces(["--last", "1"], running))[0]?.replies[0]?.id ?? "";
  for (const id of [msgId, `main:${msgId}`, "staff001", "user:staff001", reply]) {
    const [trace, ...others] = await traces([id], running);
    expect([id, others]).toEqual([id, []]);
    expect(trace).toMatchObject({
      id: `main:${msgId}`,
      direction: "in",
      account: "main",
      kind: "message",
      state: "delivered",
      sender: "staff001",
      replies: [{ id: reply, kind: "text", state: "delivered" }],
    });
    expect(stepsOf(trace).toSorted()).toEqual(
      [
        "acked",
        "delivered",
        "posted to the gateway (1)",
        "received",
        "reply accepted",
        "reply stored",
        "sent",
        "stored",
        "taken",
        "written",
      ].toSorted(),
    );
    expect(trace?.steps.find(({ step }) => step === "sent")?.detail).toBe("by webhook");
    // Every time is known, and the gaps add up.
    const times = trace?.steps.map(({ at }) => Date.parse(at ?? "")) ?? [];
    expect(times.toSorted((a, b) => a - b)).toEqual(times);
    const sum = trace?.steps.reduce((all, { sinceMs }) => all + (sinceMs ?? 0), 0);
    expect(sum).toBe((times.at(-1) ?? 0) - (times[0] ?? 0));
  }
  const text = await cli(["trace", msgId], { env: envOf(running) });
  expect(text.stdout).toMatch(/^ {2}\S+Z +\+\d+ ms {2}acked +to DingTalk$/m);
  expect(text.stdout).toMatch(/sent +by webhook {2}out_/);
  expect(text.stdout).not.toContain("机密的问题");
  const said = await cli(["trace", msgId, "--text"], { env: envOf(running) });
  expect(said.stdout).toContain("said: 机密的问题");
  expect(said.stdout).toContain("said: 收到:机密的问题");
});

it("shows attempts, what the gateway decided and why, and a message that still waits", async () => {
  const running = (bridge = await startBridge({ gateway: { mode: { kind: "answer", status: 503 } } }));
  const { msgId = "" } = await running.dingtalk.say({ text: "hi" });
  await expect
    .poll(async () => (await traces([msgId], running))[0]?.steps.at(-1), SETTLED)
    .toMatchObject({ step: "waits", at: null, detail: expect.stringContaining("gateway_unavailable") });
  const body = JSON.stringify({ decision: "denied", reason: "dm_policy_pairing_required" });
  running.gateway.mode = { kind: "answer", status: 200, contentType: "application/json", body };
  await expect.poll(async () => (await traces([msgId], running))[0]?.state, SETTLED).toBe("delivered");
  const [trace] = await traces([msgId], running);
  const details = trace?.steps.map(({ step, detail }) => `${step}: ${detail}`) ?? [];
  expect(details).toContainEqual(
    expect.stringMatching(
      /^posted to the gateway \(1\): retry after \d+ ms: gateway_unavailable the gateway answered 503$/,
    ),
  );
  expect(details.at(-1)).toBe("taken: decision: denied, reason: dm_policy_pairing_required");
  expect(trace?.replies).toEqual([]);
});

it("shows what was sent unasked, by the person and by its id, and why it is a dead letter", async () => {
  const running = (bridge = await startBridge());
  running.dingtalk.faults.exhaust("calls");
  const body = { to: "user:staff009", content: { type: "text", text: "?" } };
  const sent = await running.api("POST", "/v1/messages", body, { prefer: "wait=10" });
  const { id } = (await sent.json()) as { id: string };
  for (const query of [id, "staff009", "user:staff009"]) {
    const [trace] = await traces([query], running);
    expect(trace).toMatchObject({ id, direction: "out", state: "dead", conversation: "user:staff009" });
    expect(trace?.steps.at(-1)).toMatchObject({
      step: "dead letter",
      detail: expect.stringMatching(/^(dingtalk_)?quota_exhausted/),
    });
  }
});

it("reads the store when no bridge runs, and leaves it as it was", async () => {
  const running = (bridge = await startBridge());
  const { msgId = "" } = await running.dingtalk.say({ text: "hi" });
  await running.dingtalk.until("sent");
  await expect.poll(async () => (await traces([msgId], running))[0]?.replies[0]?.state, SETTLED).toBe("delivered");
  const copy = directory();
  await running.app.stop({ signal: AbortSignal.timeout(10_000) });
  cpSync(running.dataDir, copy, { recursive: true });
  const before = [readdirSync(copy), statSync(join(copy, "bridge.db")).mtimeMs];
  const { stdout } = await cli(["trace", msgId, "--data-dir", copy], {
    env: envOf({ url: "http://127.0.0.1:1", dataDir: copy }),
  });
  // What was acknowledged last is known too: the stop writes it.
  expect(stdout).toMatch(/acked +to DingTalk/);
  expect([readdirSync(copy), statSync(join(copy, "bridge.db")).mtimeMs]).toEqual(before);
});

it("says what to do when there is nothing to show", async () => {
  const env = envOf({ url: "http://127.0.0.1:1", dataDir: join(directory(), "none") });
  const none = await cli(["trace"], { env });
  expect(none).toMatchObject({ status: 1, stdout: "" });
  expect(none.stderr).toContain("no bridge has run there");
  expect(none.stderr).toContain("dingtalk-bridge start");
  const running = (bridge = await startBridge());
  expect(await cli(["trace"], { env: envOf(running) })).toMatchObject({ status: 0, stdout: "No messages yet.\n" });
  const unknown = await cli(["trace", "nobody"], { env: envOf(running) });
  expect(unknown).toMatchObject({ status: 1, stdout: "" });
  expect(unknown.stderr).toContain('nothing is stored under "nobody"');
  expect(await cli(["trace", "--last", "many"], { env: envOf(running) })).toMatchObject({ status: 64 });
});

it("names the release that a data directory of another one needs", async () => {
  const place = directory();
  const db = new DatabaseSync(join(place, "bridge.db"));
  db.exec("PRAGMA user_version = 3");
  db.close();
  const { status, stderr } = await cli(["trace"], { env: envOf({ url: "http://127.0.0.1:1", dataDir: place }) });
  expect({ status, stderr }).toEqual({ status: 78, stderr: expect.stringContaining("of an older release (schema 3") });
});
