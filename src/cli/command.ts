import type { Readable, Writable } from "node:stream";
import type { Command } from "commander";

/** sysexits(3): what a supervisor or a script can tell apart. */
export const EXIT = { ok: 0, failed: 1, usage: 64, defect: 70, config: 78, interrupted: 130 } as const;

/** All that a command knows of the world, so that it runs in a test without a process of its own. */
export interface CommandContext {
  env: Readonly<Record<string, string | undefined>>;
  /** The working directory: relative paths start there, and `.env` there is read. */
  cwd: string;
  stdout: Writable;
  stderr: Writable;
  /** `isTTY` when a person sits there. */
  stdin: Readable & { isTTY?: boolean };
  /** Aborted by the first Ctrl-C or SIGTERM, unless the command has taken the signal with `host.onSignal`. */
  signal: AbortSignal;
  version: string;
  host: ProcessHost;
}

/** What only the process itself has: `main.ts` gives the real one. */
export interface ProcessHost {
  /** How this program is called here: see `programOf`. */
  program: string;
  insideContainer: boolean;
  /** Takes a signal over from `context.signal`; called each time that it comes. */
  onSignal(name: NodeJS.Signals, listener: () => void): void;
  /** An exception or a rejection that nobody caught. */
  onFatal(listener: (kind: string, error: unknown) => void): void;
  /** Ends the process then, whatever still holds it. */
  exitAfter(ms: number, status: number): void;
  /** Loaded only when it is wanted: the daemon needs neither a simulator nor its memory. */
  runSandbox(options: SandboxRun): Promise<number>;
}

/** See `TerminalOptions` in sandbox/terminal.ts. */
export interface SandboxRun {
  version: string;
  port: number;
  say?: string;
  files?: readonly string[];
  gatewayUrl?: string;
  input: Readable;
  output: Writable;
  signal: AbortSignal;
}

/** What a command gets when it runs. `Options` are those that its `configure` declares. */
export interface Invocation<Options extends object> {
  context: CommandContext;
  options: Options;
  /** Words that are no options. */
  args: readonly string[];
}

/** One command of the program: an entry of the table in commands.ts. */
export interface CliCommand<Options extends object = object> {
  name: string;
  /** One line, for the list of commands. */
  summary: string;
  /** More about it, for its own help. Default: the summary. */
  description?: string;
  /** What to type, and what it does: shown below the help. The first is the commonest. */
  examples: readonly (readonly [line: string, does: string])[];
  /** Declares arguments and options. */
  configure?(command: Command): void;
  /** Instead of `run`: commands below this one. The first is meant when none is named. */
  commands?: readonly CliCommand[];
  /**
   * Resolves with the exit status. A mistake of the user is thrown: ConfigError ends with 78, BridgeError with 78 or 1, CommandError
   * as it says; each is shown as a sentence with its mend. Anything else is a defect.
   */
  run?(invocation: Invocation<Options>): Promise<number>;
}

/** Why a command could not do its work, for the person who typed it. */
export class CommandError extends Error {
  readonly status: number;
  /** What to do about it: a sentence or a command. */
  readonly mend: string | undefined;

  constructor(message: string, options: { mend?: string | undefined; status?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CommandError";
    this.status = options.status ?? EXIT.failed;
    this.mend = options.mend;
  }
}

/** What was typed makes no sense: status 64. */
export class UsageError extends CommandError {
  constructor(message: string, mend?: string) {
    super(message, { status: EXIT.usage, mend });
    this.name = "UsageError";
  }
}
