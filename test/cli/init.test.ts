import { PassThrough } from "node:stream";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CommandContext } from "../../src/cli/command.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { withCredentials } from "../../src/cli/init-file.ts";
import { runCli } from "../../src/cli/run.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { APP } from "../support/bridge.ts";
import { type CliOptions, Said, cli } from "./support.ts";

let dir: string;
let sim: DingtalkSimulator | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "bridge-init-"));
});
afterEach(async () => {
  await sim?.close();
  sim = undefined;
  rmSync(dir, { recursive: true, force: true });
});

const envFile = (): string => join(dir, ".env");
const written = (): Record<string, string | undefined> => parseEnv(readFileSync(envFile(), "utf8"));
const SECRET = { DINGTALK_APP_SECRET: APP.appSecret };
const RIGHT = { DINGTALK_APP_KEY: APP.appKey, ...SECRET };

async function init(args: string[], env: Record<string, string> = {}, more: CliOptions = {}) {
  sim ??= await startDingtalkSimulator({ apps: [APP] });
  const hosts = { DINGTALK_API_BASE: sim.url, DINGTALK_OAPI_BASE: sim.url, HOME: dir };
  return cli(["init", ...args], { cwd: dir, env: { ...hosts, ...env }, ...more });
}

/** A person at a terminal: each answer is typed when its question stands on the screen. */
async function typed(args: string[], env: Record<string, string>, answers: readonly (readonly [string, string])[]) {
  sim ??= await startDingtalkSimulator({ apps: [APP] });
  const stdin = Object.assign(new PassThrough(), { isTTY: true });
  const [stdout, stderr] = [new Said(), new Said()];
  const context: CommandContext = {
    env: { DINGTALK_API_BASE: sim.url, DINGTALK_OAPI_BASE: sim.url, HOME: dir, ...env },
    cwd: dir,
    stdin,
    stdout,
    stderr,
    signal: new AbortController().signal,
    version: "1.2.3",
    host: {
      program: "dingtalk-bridge",
      insideContainer: false,
      onSignal: () => {},
      onFatal: () => {},
      exitAfter: () => {},
      runSandbox: () => Promise.resolve(0),
    },
  };
  const status = runCli(["init", ...args], context, COMMANDS);
  let from = 0;
  for (const [question, answer] of answers) {
    await expect.poll(() => stderr.text.indexOf(question, from), { timeout: 5_000 }).toBeGreaterThan(-1);
    from = stderr.text.length;
    stdin.write(answer);
  }
  return { status: await status, stdout: stdout.text, stderr: stderr.text };
}

describe("without a terminal", () => {
  it("writes what DingTalk takes, for the owner alone, and says the next command", async () => {
    const { status, stdout, stderr } = await init(["--app-key", APP.appKey], SECRET);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "Asking DingTalk …\nDingTalk accepts them.\n" });
    expect(written()).toEqual(RIGHT);
    expect(statSync(envFile()).mode & 0o777).toBe(0o600);
    expect(stdout).toContain("dingtalk-bridge start");
    expect(stdout).not.toContain(APP.appSecret);
  });

  it("names docker where the compose file lies", async () => {
    writeFileSync(join(dir, "docker-compose.yml"), "");
    expect((await init([], RIGHT)).stdout).toContain("docker compose up -d --build");
  });

  it("takes the secret from stdin", async () => {
    const { status } = await init(["--app-key", APP.appKey, "--app-secret-stdin"], {}, { input: `${APP.appSecret}\n` });
    expect(status).toBe(0);
    expect(written()).toEqual(RIGHT);
  });

  it.each([
    [["--app-key", "k"], {}, "the App Secret is missing"],
    [[], SECRET, "the App Key is missing"],
    [[], {}, "the App Key and the App Secret are missing"],
  ])("%j %j: 64 with the way out", async (args, env, problem) => {
    const { status, stderr } = await init(args, env);
    expect(status).toBe(64);
    expect(stderr).toContain(problem);
    expect(stderr).toContain("--app-secret-stdin");
    expect(existsSync(envFile())).toBe(false);
  });

  it("has no option that would show the secret to every user of the machine", async () => {
    const { status, stderr } = await init(["--app-key", APP.appKey, "--app-secret", APP.appSecret]);
    expect(status).toBe(64);
    expect(stderr).not.toContain(APP.appSecret);
  });

  it("a wrong secret is not written", async () => {
    const { status, stderr } = await init(["--app-key", APP.appKey], { DINGTALK_APP_SECRET: "another-secret" });
    expect(status).toBe(1);
    expect(stderr).toContain("DingTalk does not accept this App Key with this App Secret");
    expect(stderr).toContain("凭证与基础信息");
    expect(stderr).not.toContain("another-secret");
    expect(existsSync(envFile())).toBe(false);
  });

  it("while DingTalk cannot be reached only --no-verify writes", async () => {
    const away = { ...RIGHT, DINGTALK_API_BASE: "http://127.0.0.1:9" };
    const refused = await init([], away);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("--no-verify");
    expect(existsSync(envFile())).toBe(false);
    expect((await init(["--no-verify"], away)).status).toBe(0);
    expect(written()).toEqual(RIGHT);
  });

  it("another value that is there stays, unless --force says otherwise; all other lines stay in any case", async () => {
    const before =
      "# mine\nBRIDGE_PORT=8791\nexport DINGTALK_CLIENT_ID=dingother\nDINGTALK_APP_SECRET=other\nLOG_LEVEL=debug\n";
    writeFileSync(envFile(), before);
    chmodSync(envFile(), 0o644);
    const refused = await init([], RIGHT);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("DINGTALK_CLIENT_ID, DINGTALK_APP_SECRET already");
    expect(refused.stderr).toContain("init --force");
    expect(readFileSync(envFile(), "utf8")).toBe(before);
    expect((await init(["--force"], RIGHT)).status).toBe(0);
    expect(readFileSync(envFile(), "utf8")).toBe(
      `# mine\nBRIDGE_PORT=8791\nDINGTALK_APP_KEY=${APP.appKey}\nDINGTALK_APP_SECRET=${APP.appSecret}\nLOG_LEVEL=debug\n`,
    );
    expect(statSync(envFile()).mode & 0o777).toBe(0o600);
    // The same again is no question.
    expect((await init([], RIGHT)).status).toBe(0);
  });

  it("the placeholders of .env.example are replaced without asking", async () => {
    const example = new URL("../../.env.example", import.meta.url);
    writeFileSync(envFile(), readFileSync(example));
    expect((await init([], RIGHT)).status).toBe(0);
    expect(written()).toMatchObject(RIGHT);
  });

  it("another setting that is wrong is named, and nothing is written", async () => {
    const { status, stderr } = await init([], { ...RIGHT, BRIDGE_PORT: "x" });
    expect(status).toBe(78);
    expect(stderr).toContain("BRIDGE_PORT");
    expect(existsSync(envFile())).toBe(false);
  });
});

it("Ctrl-C ends the wait for standard input", async () => {
  const [stdin, quit] = [new PassThrough(), new AbortController()];
  const ended = init(["--app-key", APP.appKey, "--app-secret-stdin"], {}, { stdin, signal: quit.signal });
  await expect.poll(() => stdin.readableFlowing !== null || stdin.listenerCount("readable") > 0).toBe(true);
  quit.abort();
  expect(await ended).toMatchObject({ status: 130, stderr: "dingtalk-bridge: interrupted\n" });
});

describe("at a terminal", () => {
  it("asks for both, says where they are, and shows nothing of the secret", async () => {
    const { status, stderr } = await typed([], {}, [
      ["App Key (Client ID):", `${APP.appKey}\n`],
      ["App Secret (Client Secret, not shown):", `${APP.appSecret}\n`],
    ]);
    expect(status).toBe(0);
    expect(written()).toEqual(RIGHT);
    expect(stderr).toContain("凭证与基础信息");
    expect(stderr).not.toContain(APP.appSecret);
  });

  it("asks again after a wrong secret, with the App Key as a proposal", async () => {
    const { status, stderr } = await typed(["--app-key", APP.appKey], {}, [
      ["App Secret", "wrong-secret\n"],
      ["App Key (Client ID):", "\n"],
      ["App Secret", `${APP.appSecret}\n`],
    ]);
    expect(status).toBe(0);
    expect(stderr).toContain("DingTalk does not accept this App Key with this App Secret");
    expect(written()).toEqual(RIGHT);
  });

  it("asks before it replaces, and before it writes what was not checked", async () => {
    writeFileSync(envFile(), "DINGTALK_APP_KEY=dingother\n");
    const kept = await typed([], RIGHT, [["already. Replace?", "n\n"]]);
    expect(kept.status).toBe(1);
    const away = { ...RIGHT, DINGTALK_API_BASE: "http://127.0.0.1:9" };
    const refused = await typed([], away, [
      ["already. Replace?", "y\n"],
      ["Write them unchecked?", "\n"],
    ]);
    expect(refused.status).toBe(1);
    expect(written()).toEqual({ DINGTALK_APP_KEY: "dingother" });
    const agreed = await typed([], away, [
      ["already. Replace?", "y\n"],
      ["Write them unchecked?", "y\n"],
    ]);
    expect(agreed.status).toBe(0);
    expect(written()).toEqual(RIGHT);
  });

  it.each([
    ["Ctrl-C", [["App Key (Client ID):", "\u0003"]]],
    ["Ctrl-D", [["App Key (Client ID):", "\u0004"]]],
    [
      "Ctrl-D later",
      [
        ["App Key (Client ID):", `${APP.appKey}\n`],
        ["App Secret", "\u0004"],
      ],
    ],
  ] as const)("%s leaves everything as it is", async (_what, answers) => {
    const { status, stderr } = await typed([], {}, answers);
    expect(status).toBe(130);
    expect(stderr).toContain("interrupted; nothing was written");
    expect(existsSync(envFile())).toBe(false);
  });
});

it("start finds what init wrote: every command reads .env, and the environment goes before it", async () => {
  expect((await init([], RIGHT)).status).toBe(0);
  const there = { cwd: dir, env: { HOME: dir } };
  expect((await cli(["token", "--json"], there)).stdout).toMatch(/^\{"main":"[\w-]{43}"\}\n$/);
  const own = { HOME: dir, DINGTALK_CLIENT_ID: "dingsomebodyelse0001", DINGTALK_CLIENT_SECRET: "another-secret" };
  const [fromFile, fromEnv] = [await cli(["token"], there), await cli(["token"], { cwd: dir, env: own })];
  expect(fromEnv.status).toBe(0);
  expect(fromEnv.stdout).not.toBe(fromFile.stdout);
});

it("whatever stands in the file, the credentials come back out of it and other lines stay", () => {
  const secret = fc.stringMatching(/^[\x21-\x7e]{1,40}$/).filter((text) => !/["'\\`]/.test(text));
  const line = fc.constantFrom("A=1", "# note", "", "DINGTALK_APP_KEY=x", "DINGTALK_CLIENT_SECRET = y", "export B='2'");
  fc.assert(
    fc.property(secret, secret, fc.array(line, { maxLength: 8 }), fc.boolean(), (appKey, appSecret, lines, windows) => {
      const text = withCredentials(lines.join(windows ? "\r\n" : "\n"), { appKey, appSecret });
      const read = parseEnv(text);
      expect(read).toMatchObject({ DINGTALK_APP_KEY: appKey, DINGTALK_APP_SECRET: appSecret });
      expect(read["DINGTALK_CLIENT_SECRET"]).toBeUndefined();
      const others = (one: string): boolean => !one.includes("DINGTALK") && one !== "";
      expect(text.split(/\r?\n/).filter(others)).toEqual(lines.filter(others));
    }),
  );
});
