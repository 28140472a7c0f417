import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { APP } from "../support/bridge.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** The command as a user types it, with nothing in the environment but what is given. */
function run(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { HOME: dataDir(), ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  cleanups.push(() => child.kill("SIGKILL"));
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  const ended = once(child, "close").then(([status]) => ({ status: status as number | null, ...output }));
  return { child, output, ended };
}

function dataDir(): string {
  const directory = mkdtempSync(join(tmpdir(), "bridge-process-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function simulated(): Promise<{ env: Record<string, string>; connected: () => Promise<unknown> }> {
  const dingtalk = await startDingtalkSimulator({ apps: [APP] });
  cleanups.push(() => dingtalk.close());
  return {
    connected: () => dingtalk.waitFor("connected", () => true, 15_000),
    env: {
      DINGTALK_APP_KEY: APP.appKey,
      DINGTALK_APP_SECRET: APP.appSecret,
      DINGTALK_API_BASE: dingtalk.url,
      DINGTALK_OAPI_BASE: dingtalk.url,
      BRIDGE_PORT: "0",
      BRIDGE_DATA_DIR: dataDir(),
    },
  };
}

describe("the command", () => {
  it("prints version and help", async () => {
    expect(await run(["--version"]).ended).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
    expect(await run(["--help"]).ended).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("Usage: dingtalk-bridge"),
    });
  });

  it.each([[["--nonsense"]], [["fly"]], [["start", "twice"]]])(
    "refuses %j with status 64 and its usage",
    async (args) => {
      expect(await run(args).ended).toMatchObject({
        status: 64,
        stdout: "",
        stderr: expect.stringContaining("Usage:"),
      });
    },
  );

  it("names every missing and wrong setting at once, status 78, nothing started", async () => {
    const { status, stderr } = await run(["start"], { BRIDGE_PORT: "99999", LOG_LEVEL: "loud", BRIDGE_TOKEN: "short" })
      .ended;
    expect(status).toBe(78);
    for (const setting of ["DINGTALK_APP_KEY", "BRIDGE_PORT", "LOG_LEVEL", "BRIDGE_TOKEN"])
      expect(stderr).toContain(setting);
    expect(stderr).not.toMatch(/\bat .*\.ts:\d+/);
  });

  it("says one thing in the sandbox and ends", async () => {
    const { status, stdout } = await run(["sandbox", "--say", "你好"]).ended;
    expect(stdout).toContain("robot  > 收到:你好");
    expect(status).toBe(0);
  });

  it("talks in the sandbox until the input ends", async () => {
    const { child, output, ended } = run(["sandbox"]);
    child.stdin.write("hello\n:group and in a group\n:nonsense\n");
    await expect.poll(() => output.stdout, { timeout: 15_000 }).toMatch(/收到:hello[\s\S]*收到:and in a group/);
    child.stdin.end(":quit\n");
    expect(await ended).toMatchObject({ status: 0 });
  });
});

describe("the process", () => {
  it("ends with 0 on SIGTERM when nothing is in flight", async () => {
    const { env, connected } = await simulated();
    const ready = connected();
    const { child, ended } = run(["start"], env);
    await ready;
    child.kill("SIGTERM");
    const { status, stdout } = await ended;
    expect(status).toBe(0);
    expect(stdout).toContain('"msg":"stopped"');
    expect(stdout).not.toContain(APP.appSecret);
  });

  it("ends with 0 on a SIGTERM in the midst of its start", async () => {
    const { env } = await simulated();
    const { child, ended } = run(["start"], env);
    // With its first line: what starts then is still to be stopped.
    child.stdout.once("data", () => child.kill("SIGTERM"));
    const { status, stdout } = await ended;
    expect(stdout).toContain('"why":"SIGTERM"');
    expect(status).toBe(0);
  });

  it("refuses a data directory that another one uses, and takes it over after kill -9", async () => {
    const { env, connected } = await simulated();
    let ready = connected();
    const first = run(["start"], env);
    await ready;
    const second = await run(["start"], env).ended;
    expect(second.status).toBe(78);
    expect(second.stderr).toMatch(/another dingtalk-bridge \(process \d+\)/);
    first.child.kill("SIGKILL");
    await first.ended;
    ready = connected();
    const third = run(["start"], env);
    await ready;
    third.child.kill("SIGTERM");
    expect((await third.ended).status).toBe(0);
  });

  it("names a port that is taken", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => server.close());
    const address = server.address();
    const port = typeof address === "object" ? String(address?.port) : "";
    const { env } = await simulated();
    const { status, stderr } = await run(["start"], { ...env, BRIDGE_PORT: port }).ended;
    expect(status).toBe(1);
    expect(stderr).toContain("BRIDGE_PORT");
  });
});
