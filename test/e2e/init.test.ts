import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, it, onTestFinished } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { APP } from "../support/bridge.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;

it("in an empty folder: init, doctor, start", async () => {
  const dingtalk = await startDingtalkSimulator({ apps: [APP] });
  const dir = mkdtempSync(join(tmpdir(), "bridge-first-"));
  onTestFinished(async () => {
    await dingtalk.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const hosts = { DINGTALK_API_BASE: dingtalk.url, DINGTALK_OAPI_BASE: dingtalk.url };
  // Nobody listens at port 9: there is no gateway yet.
  const env = { HOME: dir, ...hosts, BRIDGE_PORT: "0", BRIDGE_GATEWAY_URL: "http://127.0.0.1:9" };
  const run = (args: string[], more: Record<string, string> = {}): ChildProcess =>
    spawn(process.execPath, [MAIN, ...args], { cwd: dir, env: { ...env, ...more }, stdio: ["ignore", "pipe", "pipe"] });
  const finish = async (child: ChildProcess): Promise<{ status: number | null; stdout: string }> => {
    const ended = once(child, "exit") as Promise<[number | null]>;
    const stdout = child.stdout ? await text(child.stdout) : "";
    return { status: (await ended)[0], stdout };
  };

  const init = await finish(run(["init", "--app-key", APP.appKey], { DINGTALK_APP_SECRET: APP.appSecret }));
  expect(init.status).toBe(0);
  expect(init.stdout).toContain("src/main.ts doctor");
  expect(readdirSync(dir)).toEqual([".env"]);

  const doctor = await finish(run(["doctor", "--json"]));
  expect(doctor.status).toBe(1);
  const { findings } = JSON.parse(doctor.stdout) as { findings: { code: string; level: string }[] };
  expect(findings.filter(({ level }) => level === "error")).toMatchObject([{ code: "gateway_unreachable" }]);
  expect(readdirSync(dir)).toEqual([".env"]);

  const connected = dingtalk.waitFor("connected");
  const start = run(["start"]);
  const ended = finish(start);
  await connected;
  start.kill("SIGTERM");
  const { status, stdout } = await ended;
  expect(status).toBe(0);
  expect(stdout).toContain(`DINGTALK_APP_KEY, DINGTALK_APP_SECRET read from ${join(dir, ".env")}`);
  expect(stdout).not.toContain(APP.appSecret);
});
