import { PassThrough, Writable } from "node:stream";
import type { CliCommand, CommandContext, ProcessHost } from "../../src/cli/command.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { runCli } from "../../src/cli/run.ts";
import { APP, type TestBridge } from "../support/bridge.ts";

/** A stream that keeps what is written to it. */
export class Said extends Writable {
  text = "";

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export interface CliResult {
  status: number;
  stdout: string;
  stderr: string;
}

/** What a test may set of the context. */
export interface CliOptions {
  env?: Record<string, string>;
  /** Default: none that exists, so that nobody's `.env` is read. */
  cwd?: string;
  commands?: readonly CliCommand[];
  host?: Partial<ProcessHost>;
  signal?: AbortSignal;
  /** What is typed. */
  input?: string;
  /** Instead of `input`: one that the test ends itself. */
  stdin?: PassThrough;
  isTTY?: boolean;
}

/** The program in this process, as if `args` had been typed. */
export async function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const [stdout, stderr, stdin] = [new Said(), new Said(), options.stdin ?? new PassThrough()];
  if (!options.stdin) stdin.end(options.input);
  const context: CommandContext = {
    env: options.env ?? {},
    cwd: options.cwd ?? "/nonexistent",
    stdout,
    stderr,
    stdin: options.isTTY === undefined ? stdin : Object.assign(stdin, { isTTY: options.isTTY }),
    signal: options.signal ?? new AbortController().signal,
    version: "1.2.3",
    host: {
      program: "dingtalk-bridge",
      insideContainer: false,
      onSignal: () => {},
      onFatal: () => {},
      exitAfter: () => {},
      runSandbox: () => Promise.resolve(0),
      ...options.host,
    },
  };
  const status = await runCli(args, context, options.commands ?? COMMANDS);
  return { status, stdout: stdout.text, stderr: stderr.text };
}

/** The environment in which a command finds the bridge of a test. */
export function envOf(bridge: Pick<TestBridge, "url" | "dataDir">, more: Record<string, string> = {}) {
  return {
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    BRIDGE_DATA_DIR: bridge.dataDir,
    BRIDGE_PORT: new URL(bridge.url).port,
    ...more,
  };
}
