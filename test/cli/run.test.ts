import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { BridgeError } from "../../src/app.ts";
import { type CliCommand, CommandError, type Invocation, type SandboxRun, UsageError } from "../../src/cli/command.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { APP } from "../support/bridge.ts";
import { cli } from "./support.ts";

const ACCOUNT = { DINGTALK_APP_KEY: APP.appKey, DINGTALK_APP_SECRET: APP.appSecret };

/** A table of commands that say how they were called. */
function recording(): { commands: CliCommand[]; calls: unknown[] } {
  const calls: unknown[] = [];
  const note = (name: string, how: CliCommand["configure"]): CliCommand => ({
    name,
    summary: name,
    examples: [[name, "does it"]],
    ...(how && { configure: how }),
    run: ({ options, args }: Invocation<object>) => {
      calls.push([name, options, args]);
      return Promise.resolve(0);
    },
  });
  const commands: CliCommand[] = [
    note("start", (command) => command.option("--port <n>", "port")),
    {
      name: "box",
      summary: "box",
      examples: [["box", "does it"]],
      commands: [
        note("list", (command) => command.option("--code <code>", "code")),
        note("show", (command) => command.argument("<id>", "id")),
      ],
    },
  ];
  return { commands, calls };
}

describe("which command is meant", () => {
  it.each([
    [[], ["start", {}, []]],
    [
      ["--port", "1"],
      ["start", { port: "1" }, []],
    ],
    [
      ["start", "--port=1"],
      ["start", { port: "1" }, []],
    ],
    // Options before the command, with a value that looks like one.
    [
      ["--port", "box", "start"],
      ["start", { port: "box" }, []],
    ],
    [["box"], ["list", {}, []]],
    [
      ["box", "--code", "show"],
      ["list", { code: "show" }, []],
    ],
    [
      ["--code", "x", "box"],
      ["list", { code: "x" }, []],
    ],
    [
      ["box", "show", "list"],
      ["show", {}, ["list"]],
    ],
  ])("%j", async (args, call) => {
    const { commands, calls } = recording();
    expect(await cli(args, { commands })).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(calls).toEqual([call]);
  });
});

describe("what cannot be understood ends with 64", () => {
  it.each([
    [["quoat"], "unknown command 'quoat'\n(Did you mean quota?)", "dingtalk-bridge --help"],
    [["fly"], "unknown command 'fly'", "dingtalk-bridge --help"],
    [["--prot", "1"], "unknown option '--prot'\n(Did you mean --port?)", "dingtalk-bridge start --help"],
    [["token", "--jsno"], "unknown option '--jsno'\n(Did you mean --json?)", "dingtalk-bridge token --help"],
    [["start", "twice"], "too many arguments for 'start'", "dingtalk-bridge start --help"],
    [["start", "--port"], "option '--port <n>' argument missing", "dingtalk-bridge start --help"],
    [["sandbox", "--port", "x"], "--port is not a number", "dingtalk-bridge sandbox --port 8790"],
  ])("%j", async (args, problem, hint) => {
    const { status, stdout, stderr } = await cli(args);
    expect({ status, stdout }).toEqual({ status: 64, stdout: "" });
    expect(stderr).toContain(problem);
    expect(stderr).toContain(hint);
  });

  it("does not repeat the value of an option that does not exist", async () => {
    const { stderr } = await cli(["start", `--app-secret=${APP.appSecret}`]);
    expect(stderr).toContain("'--app-secret'");
    expect(stderr).not.toContain(APP.appSecret);
  });

  it("does not repeat words that are too many", async () => {
    const { stderr } = await cli(["init", APP.appKey, `${APP.appSecret}\nx`]);
    expect(stderr).toContain("too many arguments for 'init'. Expected 0 arguments but got 2.\nUsage: ");
    expect(stderr).not.toContain(APP.appSecret);
  });
});

describe("help", () => {
  it("lists every command in one line each", async () => {
    const { status, stdout } = await cli(["--help"]);
    expect(status).toBe(0);
    expect(stdout).toContain("Usage: dingtalk-bridge [command] [options]");
    for (const { name, summary } of COMMANDS)
      expect(stdout).toMatch(new RegExp(`^  ${name} .*${summary.slice(0, 12)}`, "m"));
  });

  it.each(COMMANDS.map((command) => [command.name, command] as const))(
    "of %s has an example",
    async (name, command) => {
      for (const args of [
        [name, "--help"],
        ["help", name],
      ]) {
        const { status, stdout, stderr } = await cli(args);
        expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
        expect(stdout).toContain(command.examples[0]?.[0]);
      }
    },
  );

  it("of every command stands in docs/cli.md", () => {
    const page = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");
    const shown = [...page.matchAll(/<!-- help: (\S+) -->/g)].map(([, name]) => name);
    expect(new Set(shown)).toEqual(new Set(COMMANDS.map(({ name }) => name)));
  });

  it("prints the version", async () => {
    expect(await cli(["--version"])).toEqual({ status: 0, stdout: "1.2.3\n", stderr: "" });
  });
});

describe("how a command that fails ends", () => {
  const failing = (thrown: Error): CliCommand[] => [
    { name: "start", summary: "", examples: [["x", ""]], run: () => Promise.reject(thrown) },
  ];

  it.each([
    ["a wrong typing", new UsageError("what?", "type it again"), 64, "dingtalk-bridge: what?\n  mend: type it again\n"],
    ["a failure", new CommandError("no luck"), 1, "dingtalk-bridge: no luck\n"],
    [
      "a port that is taken",
      new BridgeError("port_unavailable", "taken", { mend: "BRIDGE_PORT" }),
      1,
      "dingtalk-bridge: taken\n  mend: BRIDGE_PORT\n",
    ],
    ["a data directory in use", new BridgeError("data_dir_locked", "in use"), 78, "dingtalk-bridge: in use\n"],
  ])("%s", async (_what, error, status, stderr) => {
    expect(await cli([], { commands: failing(error) })).toEqual({ status, stdout: "", stderr });
  });

  it("a defect says so, with its stack", async () => {
    const { status, stderr } = await cli([], { commands: failing(new TypeError("undefined is no function")) });
    expect(status).toBe(70);
    expect(stderr).toMatch(
      /this is a defect; please report it with these lines:\nTypeError: undefined is no function\n +at /,
    );
  });

  it("Ctrl-C is no defect", async () => {
    const commands = failing(new DOMException("aborted", "AbortError"));
    const { status, stderr } = await cli([], { commands, signal: AbortSignal.abort() });
    expect({ status, stderr }).toEqual({ status: 130, stderr: "dingtalk-bridge: interrupted\n" });
  });

  it("wrong settings: all of them, 78", async () => {
    const { status, stderr } = await cli(["token", "--port", "x"]);
    expect(status).toBe(78);
    expect(stderr).toContain("--port");
    expect(stderr).toContain("DINGTALK_APP_KEY");
  });
});

describe("commands without a bridge", () => {
  it("token prints one for each account, for people and programs", async () => {
    const { stdout } = await cli(["token"], { env: ACCOUNT });
    const token = /^main {2}([\w-]{43})\n$/.exec(stdout)?.[1];
    expect(token).toBeDefined();
    expect(JSON.parse((await cli(["token", "--json"], { env: ACCOUNT })).stdout)).toEqual({ main: token });
    const shared = { ...ACCOUNT, BRIDGE_TOKEN: "a-shared-token-of-ours" };
    expect((await cli(["token"], { env: shared })).stdout).toBe("BRIDGE_TOKEN is set: both sides use that.\n");
    expect((await cli(["token", "--json"], { env: shared })).stdout).toBe("null\n");
  });

  it("sandbox gets what was typed", async () => {
    const runs: SandboxRun[] = [];
    const host = {
      runSandbox: (run: SandboxRun) => {
        runs.push(run);
        return Promise.resolve(1);
      },
    };
    const { status } = await cli(["sandbox", "--say", "你好", "--file", "a.png", "--file", "b.png"], { host });
    expect(status).toBe(1);
    await cli(["sandbox", "--gateway", "http://127.0.0.1:18789"], { host });
    expect(runs).toMatchObject([
      { say: "你好", files: ["a.png", "b.png"], port: 0, version: "1.2.3" },
      { gatewayUrl: "http://127.0.0.1:18789", port: 8790 },
    ]);
  });
});
