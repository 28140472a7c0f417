import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { createDoctor, loadConfig, runChecks } from "../../src/app.ts";
import { NODE_AT_LEAST, checkNode } from "../../src/flows/doctor-local.ts";
import { Progress } from "../../src/cli/doctor-report.ts";
import { examine, surroundings } from "./doctor-support.ts";
import { Said } from "./support.ts";

describe("Node.js", () => {
  it.each([
    ["v24.16.0", "ok"],
    ["v24.21.3", "ok"],
    ["v26.0.0", "ok"],
    ["v24.15.9", "node_too_old"],
    ["v22.30.0", "node_too_old"],
  ])("%s: %s", (version, code) => {
    expect(checkNode(version).code).toBe(code);
  });

  it("the version is that of the package", () => {
    const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
    const { engines } = JSON.parse(text) as { engines: { node: string } };
    expect(`${engines.node}.0`).toBe(`>=${NODE_AT_LEAST}`);
  });
});

function makeDatabase(directory: string): DatabaseSync {
  mkdirSync(directory, { mode: 0o700 });
  return new DatabaseSync(join(directory, "bridge.db"));
}

describe("the data directory", () => {
  const at = (env: Record<string, string>): string => env["BRIDGE_DATA_DIR"] ?? "";

  it("that others can read", async () => {
    const { env } = await surroundings();
    mkdirSync(at(env), { mode: 0o755 });
    chmodSync(at(env), 0o755);
    expect((await examine(env, "--offline")).of("data_dir")).toEqual(["warning data_dir_readable"]);
    chmodSync(at(env), 0o700);
    expect((await examine(env, "--offline")).of("data_dir")).toEqual(["ok ok"]);
  });

  it("that is a file", async () => {
    const { env } = await surroundings();
    writeFileSync(at(env), "");
    expect((await examine(env, "--offline")).of("data_dir")).toEqual(["error data_dir_unusable"]);
  });

  it("of a newer release", async () => {
    const { env } = await surroundings();
    const db = makeDatabase(at(env));
    db.exec("PRAGMA user_version = 999");
    db.close();
    const { of, findings } = await examine(env, "--offline");
    expect(of("data_dir")).toEqual(["error schema_newer"]);
    expect(findings.find(({ code }) => code === "schema_newer")?.mend).toContain("backup.db");
  });

  it("of an older release is nothing to mend: a start does it", async () => {
    const { env } = await surroundings();
    const db = makeDatabase(at(env));
    db.exec("PRAGMA user_version = 1");
    db.close();
    expect((await examine(env, "--offline")).of("data_dir")).toEqual(["ok ok"]);
  });

  it("with a database that cannot be read", async () => {
    const { env } = await surroundings();
    mkdirSync(at(env), { mode: 0o700 });
    writeFileSync(join(at(env), "bridge.db"), "no database at all ".repeat(500));
    expect((await examine(env, "--offline")).of("data_dir")).toEqual(["error data_dir_unusable"]);
  });

  it("without room", async () => {
    const { env } = await surroundings({ env: { BRIDGE_DISK_MIN_FREE_MB: "1000000" } });
    expect((await examine(env, "--offline")).of("data_dir")[0]).toMatch(/^(warning|error) disk_low$/);
  });

  it.runIf(process.getuid?.() === 0)("of another user", async () => {
    const { env } = await surroundings();
    mkdirSync(at(env), { mode: 0o700 });
    chownSync(at(env), 1000, 1000);
    // The superuser may write there all the same.
    expect((await examine(env, "--offline")).of("data_dir")).toEqual(["note data_dir_owner"]);
  });
});

describe("the network", () => {
  it("DingTalk away: what needs it is not tried", async () => {
    const { env, dingtalk } = await surroundings();
    await dingtalk.close();
    const { of } = await examine(env);
    expect(of("network")).toEqual(["error stream_unreachable"]);
    for (const check of ["clock", "credentials", "stream", "permission"] as const)
      expect(of(check)).toContain("note skipped");
  });

  it("a name that cannot be resolved", async () => {
    const { env } = await surroundings({ env: { DINGTALK_API_BASE: "http://nowhere.test" } });
    const { of, findings } = await examine(env);
    expect(of("dns")).toEqual(["error dns_failed", "ok ok"]);
    expect(findings.find(({ check }) => check === "dns")?.text).toContain("nowhere.test cannot be resolved");
  });

  it("a proxy is named without its password; one that is not read is a note", async () => {
    const { env } = await surroundings({ env: { HTTPS_PROXY: "http://user:pass-word@127.0.0.1:9" } });
    const { of, findings } = await examine(env);
    expect(findings.find(({ check }) => check === "proxy")?.text).toContain("127.0.0.1:9");
    expect(JSON.stringify(findings)).not.toContain("pass-word");
    expect(of("dns")).toEqual(["note skipped"]);
    expect(of("network")[0]).toBe("error stream_unreachable");
    expect(findings.find(({ check }) => check === "network")).toMatchObject({
      text: expect.stringMatching(/ECONNREFUSED.*, through the proxy 127\.0\.0\.1:9$/) as string,
      mend: expect.stringContaining("check that 127.0.0.1:9 (HTTPS_PROXY) answers") as string,
    });
    const other = await surroundings({ env: { ALL_PROXY: "socks5://127.0.0.1:9" } });
    const { of: ofOther, ok } = await examine(other.env);
    expect(ofOther("proxy")).toEqual(["note proxy_ignored"]);
    expect(ok).toBe(true);
  });

  it("a clock that is off", async () => {
    const { env } = await surroundings();
    const { config } = loadConfig({ env });
    const doctor = createDoctor(config, {
      version: "1.2.3",
      nodeVersion: "v24.21.0",
      user: undefined,
      insideContainer: false,
      shipped: undefined,
      otherProxies: [],
      connect: true,
      clock: { now: () => Date.now() + 3_600_000, monotonic: () => performance.now() },
      signal: new AbortController().signal,
    });
    const findings = await runChecks(doctor.checks);
    await doctor.close();
    const clock = findings.find(({ check }) => check === "clock");
    expect(clock).toMatchObject({ code: "clock_off", level: "warning", mend: expect.stringContaining("NTP") });
    expect(clock?.text).toMatch(/clock is 3(599|600|601) s ahead of DingTalk's/);
  });
});

it("something else on the bridge's port", async () => {
  const { env } = await surroundings();
  const server = createServer((_request, response) => void response.end("<html>hello</html>"));
  await new Promise<void>((resolve) => server.listen(Number(env["BRIDGE_PORT"]), "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  expect((await examine(env, "--offline")).of("bridge")).toEqual(["error port_taken"]);
});

describe("checks", () => {
  it("run side by side, each until its deadline, and come in the order of the report", async () => {
    const waited: string[][] = [];
    let release = (): void => undefined;
    const slow = new Promise<void>((resolve) => (release = resolve));
    const findings = await runChecks(
      [
        { name: "stream", account: "main", run: () => new Promise(() => undefined) },
        { name: "quota", run: () => slow.then(() => [{ check: "quota", code: "ok", level: "ok", text: "" }]) },
        {
          name: "node",
          run: () => (release(), Promise.resolve([{ check: "node", code: "ok", level: "ok", text: "" }])),
        },
        { name: "dns", run: () => Promise.reject(new Error("oh")) },
      ],
      (waiting) => waited.push([...waiting]),
      50,
    );
    expect(findings).toMatchObject([
      { check: "node", code: "ok" },
      { check: "dns", code: "internal", level: "error", text: "oh" },
      { check: "stream", code: "timed_out", level: "warning", account: "main" },
      { check: "quota", code: "ok" },
    ]);
    expect(waited[0]).toEqual(["stream", "quota", "node", "dns"]);
    expect(waited.slice(-2)).toEqual([["stream"], []]);
  });

  it("show on a terminal what is being waited for, and nowhere else", () => {
    const [terminal, file] = [Object.assign(new Said(), { isTTY: true }), new Said()];
    for (const output of [terminal, file]) {
      const progress = new Progress(output);
      progress.show(["stream", "quota"]);
      progress.end();
    }
    expect(terminal.text).toBe("\r\u001B[Kchecking: stream, quota\r\u001B[K");
    expect(file.text).toBe("");
  });

  it("show that on one line, however narrow the terminal", () => {
    const terminal = Object.assign(new Said(), { isTTY: true, columns: 20 });
    new Progress(terminal).show(["credentials", "stream", "robot"]);
    expect(terminal.text).toBe("\r\u001B[Kchecking: credenti…");
  });
});
