import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { ROOT } from "./files.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function run(script: string, args: string[] = [], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [script, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  cleanups.push(() => child.kill("SIGKILL"));
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  const ended = once(child, "close").then(([status]) => ({ status: status as number | null, ...output }));
  return { child, output, ended };
}

describe("healthcheck.mjs", () => {
  const script = join(ROOT, "deploy/docker/healthcheck.mjs");

  async function answering(status: number, host = "127.0.0.1"): Promise<Record<string, string>> {
    const server = createServer((request, response) => {
      response.writeHead(request.url === "/healthz" ? status : 404).end('{"status":"…"}');
    }).listen(0, host);
    await once(server, "listening");
    cleanups.push(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return { BRIDGE_PORT: String((server.address() as AddressInfo).port) };
  }

  it.each([
    [200, 0],
    [503, 1],
  ])("an answer of %i is status %i, and is shown", async (status, expected) => {
    expect(await run(script, [], await answering(status)).ended).toMatchObject({
      status: expected,
      stdout: '{"status":"…"}\n',
    });
  });

  it.each(["0.0.0.0", "::", "", "127.0.0.1"])("asks on this machine when the bridge listens on %j", async (host) => {
    const env = await answering(200);
    expect(await run(script, [], { ...env, BRIDGE_HOST: host }).ended).toMatchObject({ status: 0 });
  });

  it("asks at the one address that the bridge listens on", async () => {
    const env = await answering(200, "127.0.0.2");
    expect(await run(script, [], { ...env, BRIDGE_HOST: "127.0.0.2" }).ended).toMatchObject({ status: 0 });
    expect(await run(script, [], env).ended).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^nothing answers at http:\/\/127\.0\.0\.1:\d+\/healthz: connect ECONNREFUSED/),
    });
  });
});

describe("stay.mjs", () => {
  /** The image's folder, with a bridge that does nothing but end with this status. */
  function image(status: number): string {
    const app = mkdtempSync(join(tmpdir(), "bridge-stay-"));
    cleanups.push(() => rmSync(app, { recursive: true, force: true }));
    copyFileSync(join(ROOT, "deploy/docker/stay.mjs"), join(app, "stay.mjs"));
    mkdirSync(join(app, "dist"));
    writeFileSync(join(app, "dist/bin.js"), `console.error("said once"); process.exitCode = ${status};`);
    writeFileSync(join(app, "package.json"), '{ "type": "module" }');
    return join(app, "stay.mjs");
  }

  const stop = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => void child.kill(signal);

  it.each(["SIGTERM", "SIGINT"] as const)("stays after a wrong setting until %s, and then says 78", async (signal) => {
    const { child, output, ended } = run(image(78), ["start"]);
    await expect.poll(() => output.stderr, { timeout: 10_000 }).toContain("docker compose up -d");
    expect(output.stderr).toMatch(/^said once\n/);
    expect(child.exitCode).toBeNull();
    await stop(child, signal);
    expect(await ended).toMatchObject({ status: 78 });
  });

  it.each([
    [0, "start"],
    [1, "start"],
    [70, "start"],
    [78, "token"],
  ])("ends with %i of %s at once", async (status, command) => {
    expect(await run(image(status), [command]).ended).toMatchObject({ status, stderr: "said once\n" });
  });
});
