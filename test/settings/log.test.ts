import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { APP } from "../support/bridge.ts";
import { Daemon } from "../support/daemon.ts";

const WORKER = "a thread of its own";

/** Everything that the real program writes, from its start to its end. */
async function life(env: Record<string, string>): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), "bridge-log-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const preload = join(directory, "preload.mjs");
  writeFileSync(preload, `process.on("worker", () => process.stderr.write("${WORKER}\\n"));`);
  const dingtalk = await startDingtalkSimulator({ apps: [APP] });
  onTestFinished(() => dingtalk.close());
  const connected = dingtalk.waitFor("connected", () => true, 15_000);
  const daemon = new Daemon({
    HOME: directory,
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_DATA_DIR: join(directory, "data"),
    BRIDGE_PORT: "0",
    ...env,
  });
  onTestFinished(() => daemon.kill());
  daemon.start({ nodeArgs: ["--import", preload] });
  await connected;
  expect(await daemon.stop()).toBe(0);
  return daemon.errors.filter((line) => line !== "");
}

const parsed = (line: string): unknown => {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
};

it("LOG_FORMAT: json for machines", async () => {
  const lines = await life({ LOG_FORMAT: "json", LOG_LEVEL: "info" });
  expect(lines.map(parsed)).not.toContain(undefined);
  const [first, last] = [lines.at(0), lines.at(-1)].map((line) => parsed(line ?? ""));
  expect([first, last]).toMatchObject([
    { level: 30, msg: "starting" },
    { level: 30, msg: "stopped" },
  ]);
});

it("LOG_FORMAT: pretty for people, to the last line, without a thread that could be left behind", async () => {
  const lines = await life({ LOG_FORMAT: "pretty", LOG_LEVEL: "info" });
  expect(lines.map(parsed).filter((line) => typeof line === "object")).toEqual([]);
  const said = lines.filter((line) => /^\[\d\d:\d\d:\d\d\.\d{3}\] [A-Z]+: /.test(line));
  expect(said.at(0)).toMatch(/INFO: starting$/);
  expect(said.at(-1)).toMatch(/INFO: stopped$/);
  expect(lines.join("\n")).not.toContain(WORKER);
});

it("LOG_LEVEL: less is written than what it names", async () => {
  const levels = new Set((await life({ LOG_LEVEL: "debug" })).map((line) => (parsed(line) as { level: number }).level));
  expect(levels).toContain(20);
  const quiet = await life({ LOG_LEVEL: "warn" });
  expect(quiet.map((line) => (parsed(line) as { level: number }).level).filter((level) => level < 40)).toEqual([]);
});
