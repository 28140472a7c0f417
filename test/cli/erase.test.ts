import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, onTestFinished } from "vitest";
import type { ErasureReport, Trace } from "../../src/app.ts";
import { APP, type TestBridge, startBridge } from "../support/bridge.ts";
import { wordsOnDisk } from "../support/disk-search.ts";
import { SECOND, startTwo } from "../support/two-accounts.ts";
import { uploadFile } from "../support/outbound.ts";
import { pdfOf, pngOf } from "../support/sample-files.ts";
import { finish, open, put } from "../flows/stream-support.ts";
import { cli, envOf } from "./support.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

const LONG = { timeout: 15_000 };

/** 李四 of the sandbox, and all that only she said or was told. */
const THEIRS = [
  "staff002",
  "李四",
  "我的病历",
  "收到:我的病历",
  "群里的秘密",
  "只给李四的回答",
  "慢慢写给李四",
  "diagnosis",
  "private.pdf",
];
const OTHERS = ["staff001", "张三", "别人的话"];

/** Says something, and waits until it is stored. */
async function say(running: TestBridge, what: Parameters<TestBridge["dingtalk"]["say"]>[0]): Promise<string> {
  const push = await running.dingtalk.say(what);
  await push.acked();
  return push.msgId ?? "";
}

async function settled(running: TestBridge): Promise<void> {
  await expect
    .poll(async () => {
      const { stdout } = await cli(["trace", "--last", "100", "--json"], { env: envOf(running) });
      const traces = JSON.parse(stdout) as Trace[];
      return traces.flatMap(({ state, replies }) => [state, ...replies.map((reply) => reply.state)]).includes("open");
    }, LONG)
    .toBe(false);
}

/** 李四 writes directly, in a group, with a file; is answered with a text, a file and a reply that grows; 张三 talks too. */
async function conversations(running: TestBridge): Promise<void> {
  const her = { from: "staff002" };
  const said = await say(running, { ...her, text: "我的病历" });
  await say(running, { ...her, text: "群里的秘密", group: "测试群" });
  await say(running, { ...her, msgtype: "file", file: pdfOf("diagnosis"), content: undefined });
  await say(running, { from: "staff001", text: "别人的话", group: "测试群" });
  // A message of somebody else that mentions her.
  await say(running, { from: "staff001", text: "问问她", group: "测试群", at: ["staff002"] });
  await settled(running);
  const media = { id: await uploadFile(running, pngOf("diagnosis"), "private.png") };
  const message = (content: object): Promise<Response> =>
    running.api("POST", "/v1/messages", { to: "user:staff002", content }, { prefer: "wait=10" });
  await message({ type: "image", media });
  await message({ type: "markdown", text: "**只给李四的回答**" });
  const reply = await open(running, { to: "user:staff002", inReplyTo: `main:${said}` });
  await put(running, reply.id, 1, "慢慢写给李四");
  await finish(running, reply.id, "慢慢写给李四的回答");
  // One that cannot be delivered.
  await message({ type: "file", media: { url: "http://127.0.0.1:1/x" }, caption: "只给李四的回答" });
  await settled(running);
}

async function erase(args: string[], env: Record<string, string>): Promise<ErasureReport> {
  const { stdout, stderr } = await cli(["erase", "--json", ...args], { env });
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as ErasureReport;
}

const mediaOf = (running: TestBridge): string[] => readdirSync(join(running.dataDir, "media"));

it("beside the running bridge: nothing of her is left on the disk, others and repetitions stay", async () => {
  const running = (bridge = await startBridge());
  await conversations(running);
  const before = wordsOnDisk(running.dataDir, THEIRS);
  for (const word of THEIRS.slice(0, 7)) expect(before.join()).toContain(word);
  expect(mediaOf(running)).toHaveLength(2);
  writeFileSync(join(running.dataDir, "bridge.schema-6.backup.db"), "");

  const env = envOf(running);
  const report = await erase(["--user", "staff002"], env);
  expect(report).toMatchObject({
    messages: 3,
    streams: 1,
    deadLetters: 1,
    others: 1,
    conversations: 1,
    files: 2,
    left: 0,
    compacted: true,
    backups: ["bridge.schema-6.backup.db"],
  });
  expect(report.replies).toBeGreaterThanOrEqual(5);
  expect(wordsOnDisk(running.dataDir, THEIRS)).toEqual([]);
  expect(mediaOf(running)).toEqual([]);
  for (const word of OTHERS) expect(wordsOnDisk(running.dataDir, [word])).not.toEqual([]);
  expect(running.logs.lines.filter(({ msg }) => msg === "stored messages erased")).toHaveLength(1);

  // She writes again, and 张三's talk goes on.
  await running.dingtalk.say({ from: "staff002", text: "我回来了" });
  await running.dingtalk.until("sent", ({ text }) => text === "收到:我回来了");
  await settled(running);
  await running.app.stop({ signal: AbortSignal.timeout(10_000) });
  expect(wordsOnDisk(running.dataDir, ["我的病历"])).toEqual([]);
}, 60_000);

it("on the data directory of a bridge that does not run; a repetition is still known afterwards", async () => {
  const running = (bridge = await startBridge());
  await conversations(running);
  const [first] = running.gateway.taken;
  await running.app.stop({ signal: AbortSignal.timeout(10_000) });
  const env = envOf({ url: "http://127.0.0.1:1", dataDir: running.dataDir });
  const text = await cli(["erase", "--user", "staff002"], { env });
  expect(text).toMatchObject({ status: 0, stderr: "" });
  expect(text.stdout).toMatch(/^erased:\n {2}messages from them +3\n/);
  expect(text.stdout).toContain("not touched: logs");
  expect(wordsOnDisk(running.dataDir, THEIRS)).toEqual([]);
  expect(wordsOnDisk(running.dataDir, [first?.id ?? "?"])).toEqual([`bridge.db: ${first?.id}`]);
  const again = await cli(["erase", "--user", "staff002"], { env });
  expect(again.stdout).toMatch(/messages from them +0\n/);
}, 60_000);

it("a conversation: a group's talk goes, direct ones stay", async () => {
  const running = (bridge = await startBridge());
  await conversations(running);
  const group = running.gateway.taken.find(
    (one) => one.type === "message" && one.message.conversation.kind === "group",
  );
  const id = group?.type === "message" ? group.message.conversation.id : "?";
  expect(await erase(["--conversation", id], envOf(running))).toMatchObject({ messages: 3, conversations: 1 });
  expect(wordsOnDisk(running.dataDir, ["群里的秘密", "别人的话", id, "测试群"])).toEqual([]);
  expect(wordsOnDisk(running.dataDir, ["我的病历"])).not.toEqual([]);
}, 60_000);

it("refuses while messages are not finished, takes them out when asked, and never what is under way", async () => {
  const running = (bridge = await startBridge({ gateway: { mode: { kind: "hang" } } }));
  const env = envOf(running);
  await running.dingtalk.say({ from: "staff002", text: "我的病历" });
  await expect.poll(() => running.gateway.received.length).toBe(1);
  await say(running, { from: "staff002", text: "等着的" });
  await expect.poll(async () => (await cli(["trace", "staff002"], { env })).stdout).toContain("in line");
  const refused = await cli(["erase", "--user", "staff002"], { env });
  expect(refused).toMatchObject({ status: 1, stdout: "" });
  expect(refused.stderr).toContain("messages of theirs are not finished: 1 wait, 1 are under way");
  expect(wordsOnDisk(running.dataDir, ["我的病历", "等着的"])).not.toEqual([]);

  const underWay = await running.api("DELETE", "/v1/people/staff002?openToo=true");
  expect([underWay.status, await underWay.json()]).toEqual([
    409,
    expect.objectContaining({ code: "not_finished", mend: expect.stringContaining("come to their end") }),
  ]);

  // The gateway goes away: the message that was under way waits as well.
  const erased = cli(["erase", "--user", "staff002", "--open-too", "--json"], { env });
  await running.gateway.crash();
  const { status, stdout, stderr } = await erased;
  expect([status, stderr]).toEqual([0, expect.stringMatching(/^(|.*waiting up to 30 s\n)$/)]);
  expect(JSON.parse(stdout)).toMatchObject({ cancelled: 2 });
  expect(wordsOnDisk(running.dataDir, ["我的病历", "等着的", "staff002"])).toEqual([]);
  // Taken out of the lane: the gateway never sees them again.
  running.gateway.mode = { kind: "echo" };
  await running.gateway.comeBack();
  await running.dingtalk.say({ from: "staff002", text: "新的" });
  await running.dingtalk.until("sent", ({ text }) => text === "收到:新的");
  const texts = running.gateway.taken.map((one) => (one.type === "message" ? one.message.text : ""));
  expect(texts).toEqual(["新的"]);
}, 60_000);

it("makes no data directory where there is none: as a rule its name was mistyped", async () => {
  const above = mkdtempSync(join(tmpdir(), "bridge-erase-"));
  onTestFinished(() => rmSync(above, { recursive: true, force: true }));
  const dataDir = join(above, "data");
  const missing = await cli(["erase", "--user", "staff002"], { env: envOf({ url: "http://127.0.0.1:1", dataDir }) });
  expect(missing).toMatchObject({ status: 1, stdout: "" });
  expect(missing.stderr).toContain(`there is no database in ${dataDir}: no bridge has run there`);
  expect(existsSync(dataDir)).toBe(false);
});

it("several accounts: tells of each, also when one is not finished at first, and of those that are not served", async () => {
  const running = (bridge = await startTwo({ gateway: { checkToken: false } }));
  const config = join(running.dataDir, "cli.json5");
  const settings = (support: object): void =>
    writeFileSync(config, JSON.stringify({ accounts: { main: APP, support: { ...SECOND, ...support } } }));
  settings({});
  const env = { ...envOf(running), DINGTALK_APP_KEY: "", DINGTALK_APP_SECRET: "", BRIDGE_CONFIG: config };
  await say(running, { from: "staff002", text: "我的病历" });
  await settled(running);
  running.gateway.mode = { kind: "hang" };
  const posted = running.gateway.received.length;
  await say(running, { app: SECOND.appKey, from: "staff002", text: "等着的" });
  await expect.poll(() => running.gateway.received.length).toBe(posted + 1);
  const erased = cli(["erase", "--user", "staff002", "--open-too", "--json"], { env });
  await expect.poll(() => wordsOnDisk(running.dataDir, ["我的病历"]), LONG).toEqual([]);
  await running.gateway.crash();
  const { status, stdout, stderr } = await erased;
  expect([status, stderr]).toEqual([0, expect.stringMatching(/; of main all is erased; waiting up to 30 s\n$/)]);
  expect(JSON.parse(stdout)).toMatchObject({ messages: 2, cancelled: 1, notServed: [] });

  await say(running, { app: SECOND.appKey, from: "staff002", text: "还有" });
  settings({ enabled: false });
  const partly = await cli(["erase", "--user", "staff002"], { env });
  expect(partly.status).toBe(1);
  expect(partly.stdout).toContain("left: what is kept of them for support, which the bridge does not serve now");
}, 60_000);

it("does not take a longer id for the one that is meant", async () => {
  const running = (bridge = await startBridge());
  await say(running, { from: "staff0021", text: "nearly the same" });
  await settled(running);
  expect(wordsOnDisk(running.dataDir, ["staff002"])).not.toEqual([]);
  expect(await erase(["--user", "staff002"], envOf(running))).toMatchObject({ messages: 0, others: 0 });
  expect(wordsOnDisk(running.dataDir, ["nearly the same"])).not.toEqual([]);
});

it("is careful with what is typed", async () => {
  const env = envOf({ url: "http://127.0.0.1:1", dataDir: "/nonexistent" });
  expect(await cli(["erase"], { env })).toMatchObject({ status: 64 });
  expect(await cli(["erase", "--user", "a", "--conversation", "b"], { env })).toMatchObject({ status: 64 });
  const running = (bridge = await startBridge());
  const other = await cli(["erase", "--user", "a"], { env: envOf(running, { BRIDGE_PORT: "1" }) });
  expect(other).toMatchObject({ status: 1, stdout: "" });
  expect(other.stderr).toContain("but one runs on this data directory");
});
