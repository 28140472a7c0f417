import { Command, CommanderError } from "commander";
import { BridgeError, ConfigError } from "../app.ts";
import { PROGRAM, asTyped } from "./as-typed.ts";
import { type CliCommand, type CommandContext, CommandError, EXIT } from "./command.ts";

/** Reasons not to start that may be gone at the next try, unlike a wrong setting. */
const PASSING: ReadonlySet<string> = new Set(["port_unavailable", "store_unavailable"]);

/**
 * Runs what was typed, `argv` without program and script, and resolves with the exit status. Never rejects: what goes wrong is said
 * on stderr.
 */
export async function runCli(
  argv: readonly string[],
  context: CommandContext,
  commands: readonly CliCommand[],
): Promise<number> {
  const ended = { status: EXIT.ok as number };
  const program = buildProgram(context, commands, (status) => (ended.status = status));
  try {
    await program.parseAsync(completed(argv, program, commands), { from: "user" });
    return ended.status;
  } catch (thrown) {
    return report(thrown, context);
  }
}

/** The whole program; `onStatus` is told what a command came to. Its help is what docs/cli.md shows. */
export function buildProgram(
  context: CommandContext,
  commands: readonly CliCommand[],
  onStatus: (status: number) => void,
): Command {
  const program = new Command(PROGRAM)
    .usage("[command] [options]")
    .description("Connects DingTalk robots to an OpenClaw gateway.")
    .version(context.version, "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText(
      "after",
      `\nHelp of one command, with examples: ${PROGRAM} <command> --help\nSettings: docs/configuration.md. Two are needed: DINGTALK_APP_KEY and DINGTALK_APP_SECRET.`,
    );
  settle(program, context);
  for (const command of commands) add(command, program, context, onStatus);
  return program;
}

function add(
  definition: CliCommand,
  parent: Command,
  context: CommandContext,
  onStatus: (status: number) => void,
): void {
  const { name, summary, description = summary, examples, commands = [] } = definition;
  const command = new Command(name).summary(summary).description(description);
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, does]) => `  ${line.padEnd(width)}  ${does}`);
  command.helpOption("-h, --help", "print this help");
  command.addHelpText("after", `\n${lines.length === 1 ? "Example" : "Examples"}:\n${lines.join("\n")}`);
  settle(command, context);
  definition.configure?.(command);
  for (const child of commands) add(child, command, context, onStatus);
  if (definition.run) {
    command.action(async () => {
      onStatus((await definition.run?.({ context, options: command.opts(), args: command.args })) ?? EXIT.ok);
    });
  }
  parent.addCommand(command);
}

/** Output and errors go where the context says, and commander ends no process. */
function settle(command: Command, { stdout, stderr }: CommandContext): void {
  const width = (stream: CommandContext["stdout"]): number =>
    "columns" in stream && typeof stream.columns === "number" ? stream.columns : 100;
  command.exitOverride().configureOutput({
    writeOut: (text) => stdout.write(text),
    writeErr: (text) => stderr.write(text),
    getOutHelpWidth: () => width(stdout),
    getErrHelpWidth: () => width(stderr),
    outputError: (text, write) => {
      // A value may be a secret that somebody gave as an option which does not exist, or as a word too many.
      const message = text
        .replace(/^error: /, "")
        .replace(/'(--?[^'=]+)=[^']*'/g, "'$1'")
        .replace(/(too many arguments for .* but got \d+):.*$/s, "$1.\n");
      const path = pathOf(command);
      write(`${PROGRAM}: ${message}Usage: ${path} ${command.usage()}\nHelp: ${path} --help\n`);
    },
  });
}

const pathOf = (command: Command): string =>
  command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();

/**
 * With the command's name first, wherever it stood, and the first command of the table where none was named. An option with a value
 * is known by its declaration, so that its value is not taken for a command.
 */
function completed(argv: readonly string[], parent: Command, commands: readonly CliCommand[]): string[] {
  const [main] = commands;
  if (!main) return [...argv];
  const at = firstWord(argv, optionsWithValue(parent));
  const word = at === undefined ? undefined : argv[at];
  const command = parent.commands.find((one) => one.name() === word);
  if (word === "help") return [...argv];
  if (at === undefined || word === undefined || !command) {
    const asksUs = argv.some((arg) => ["-h", "--help", "--version"].includes(arg));
    // What begins with an option is a call of the first command; its own complaint says more than "unknown command".
    return asksUs || argv[0]?.startsWith("-") === false ? [...argv] : [main.name, ...argv];
  }
  const rest = argv.toSpliced(at, 1);
  const children = commands.find(({ name }) => name === word)?.commands;
  return [word, ...(children ? completed(rest, command, children) : rest)];
}

function firstWord(argv: readonly string[], withValue: ReadonlySet<string>): number | undefined {
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i] ?? "";
    if (arg === "--") return undefined;
    if (!arg.startsWith("-")) return i;
    if (withValue.has(arg)) i++;
  }
  return undefined;
}

function optionsWithValue(command: Command): Set<string> {
  const own = command.options.flatMap(({ required, long }) => (required && long ? [long] : []));
  return new Set([...own, ...command.commands.flatMap((child) => [...optionsWithValue(child)])]);
}

function report(thrown: unknown, { stderr, signal, host }: CommandContext): number {
  const fail = (status: number, text: string): number => {
    stderr.write(`${asTyped(text, host.program)}\n`);
    return status;
  };
  // Commander has said it already.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (thrown instanceof ConfigError) return fail(EXIT.config, `${PROGRAM}: ${thrown.message}`);
  if (thrown instanceof CommandError || thrown instanceof BridgeError) {
    const mend = thrown.mend === undefined ? "" : `\n  mend: ${thrown.mend}`;
    return fail(statusOf(thrown), `${PROGRAM}: ${thrown.message}${mend}`);
  }
  if (signal.aborted) return fail(EXIT.interrupted, `${PROGRAM}: interrupted`);
  const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  return fail(EXIT.defect, `${PROGRAM}: this is a defect; please report it with these lines:\n${stack}`);
}

function statusOf(error: CommandError | BridgeError): number {
  if (error instanceof CommandError) return error.status;
  return PASSING.has(error.code) ? EXIT.failed : EXIT.config;
}
