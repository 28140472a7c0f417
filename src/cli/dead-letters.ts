import { type DeadLetterView, storedDeadLetters } from "../app.ts";
import type { Command } from "commander";
import { BridgeApi, BridgeAway, type Caller } from "./bridge.ts";
import { type CliCommand, type CommandContext, CommandError, EXIT, UsageError } from "./command.ts";
import { type SettingsOptions, addSettingsOptions, loadSettings } from "./settings.ts";
import { noDatabase, reading } from "./store.ts";
import { oneLine, table } from "./table.ts";

interface Filter extends SettingsOptions {
  code?: string;
  account?: string;
  json?: boolean;
}

interface Choice extends Filter {
  all?: boolean;
  yes?: boolean;
}

/** One page of the list. */
const PAGE = 500;
/** Something is said after so many. */
const PROGRESS = 100;
const COLUMNS = ["id", "queue", "account", "code", "since", "detail"];

const filters = (command: Command): void => {
  command
    .option("--code <code>", "only those of this code, e.g. too_old")
    .option("--account <name>", "only of this robot");
  command.option("--json", "for programs");
  addSettingsOptions(command);
};

const chosen = (command: Command): void => {
  command.argument("[ids...]", "ids from the list").option("--all", "all of them, or all of --code and --account");
  filters(command);
};

const list: CliCommand<Filter> = {
  name: "list",
  summary: "what could not be delivered, newest first (default)",
  description: "Lists the dead letters of both directions. Asks the running bridge, else reads its data directory.",
  examples: [["dingtalk-bridge dead-letters --code too_old", "what was too old"]],
  configure: filters,
  async run({ context, options }) {
    const { letters, from } = await allOf(context, options);
    if (options.json) context.stdout.write(`${JSON.stringify({ from, deadLetters: letters }, null, 2)}\n`);
    else context.stdout.write(listText(letters));
    return EXIT.ok;
  },
};

const show: CliCommand<Filter> = {
  name: "show",
  summary: "one dead letter with all that is known of it",
  examples: [["dingtalk-bridge dead-letters show main:msgXYZ==", "why it was given up, and since when"]],
  configure(command) {
    command.argument("<id>", "id from the list");
    filters(command);
  },
  async run({ context, options, args: [id = ""] }) {
    const { letters } = await allOf(context, options);
    const letter = letters.find((one) => one.id === id);
    if (!letter) throw unknown(id);
    context.stdout.write(options.json ? `${JSON.stringify(letter, null, 2)}\n` : showText(letter));
    return EXIT.ok;
  },
};

const replay: CliCommand<Choice> = {
  name: "replay",
  summary: "try dead letters again, through the running bridge",
  description:
    "Opens dead letters again: each goes on with its first part that was not delivered, behind what waits already.",
  examples: [
    ["dingtalk-bridge dead-letters replay main:msgXYZ==", "one"],
    ["dingtalk-bridge dead-letters replay --all --code too_old", "all that were too old"],
  ],
  configure: chosen,
  run: ({ context, options, args }) =>
    each(context, options, args, "replayed", (id) => [`/v1/dead-letters/${encodeURIComponent(id)}/replay`, "POST"]),
};

const discard: CliCommand<Choice> = {
  name: "discard",
  summary: "throw dead letters away, through the running bridge",
  description: "Throws dead letters away for good; --all needs --yes.",
  examples: [
    ["dingtalk-bridge dead-letters discard main:msgXYZ==", "one"],
    ["dingtalk-bridge dead-letters discard --all --code no_route --yes", "all of one code"],
  ],
  configure(command) {
    chosen(command);
    command.option("--yes", "with --all: it is meant");
  },
  run({ context, options, args }) {
    if (options.all && !options.yes) {
      throw new UsageError(
        "--all throws them away for good",
        "look first: dingtalk-bridge dead-letters list; then add --yes",
      );
    }
    return each(context, options, args, "discarded", (id) => [`/v1/dead-letters/${encodeURIComponent(id)}`, "DELETE"]);
  },
};

export const deadLettersCommand: CliCommand = {
  name: "dead-letters",
  summary: "what could not be delivered: list, show, replay, discard",
  examples: [
    ["dingtalk-bridge dead-letters", "the list"],
    ["dingtalk-bridge dead-letters replay --all", "try all of them again"],
  ],
  commands: [list, show, replay, discard],
};

type Route = (id: string) => readonly [path: string, method: "POST" | "DELETE"];

async function each(
  context: CommandContext,
  options: Choice,
  ids: readonly string[],
  done: string,
  route: Route,
): Promise<number> {
  if (ids.length > 0 === (options.all ?? false)) {
    throw new UsageError("which dead letters? Give ids, or --all", "dingtalk-bridge dead-letters list");
  }
  const { config } = loadSettings(context, options);
  const api = new BridgeApi(config, context.signal);
  const callers = api.callers(options.account);
  const targets = options.all ? (await fromBridge(api, callers, options)).map(({ id }) => id) : ids;
  const failed: { id: string; why: string }[] = [];
  for (const [n, id] of targets.entries()) {
    const why = await one(api, callers, route(id));
    if (why !== undefined) failed.push({ id, why });
    if ((n + 1) % PROGRESS === 0) context.stderr.write(`${n + 1} of ${targets.length}\n`);
  }
  const changed = targets.length - failed.length;
  if (options.json) context.stdout.write(`${JSON.stringify({ [done]: changed, failed })}\n`);
  else {
    const lines = [`${done}: ${changed}`, ...failed.map(({ id, why }) => `not ${done}: ${id}: ${why}`)];
    context.stdout.write(`${lines.join("\n")}\n`);
  }
  return failed.length === 0 ? EXIT.ok : EXIT.failed;
}

/** Undefined when a caller of its account could do it; else why not. */
async function one(
  api: BridgeApi,
  callers: readonly Caller[],
  [path, method]: ReturnType<Route>,
): Promise<string | undefined> {
  let why: string | undefined;
  for (const caller of callers) {
    const { status, body } = await api.call(path, caller, { method });
    if (status < 400) return undefined;
    why = api.refusal(status, body).message;
    // Of another account, perhaps.
    if (status !== 404) return why;
  }
  return why;
}

/** Of the running bridge, else of the data directory; newest first. */
async function allOf(context: CommandContext, options: Filter): Promise<{ letters: DeadLetterView[]; from: string }> {
  const { config } = loadSettings(context, options);
  const api = new BridgeApi(config, context.signal);
  try {
    return { letters: await fromBridge(api, api.callers(options.account), options), from: api.url };
  } catch (error) {
    if (!(error instanceof BridgeAway)) throw error;
    const stored = reading(config.dataDir, () => storedDeadLetters(config));
    if (!stored) throw noDatabase(config.dataDir);
    context.stderr.write(`${error.message}; reading ${config.dataDir}\n`);
    return { letters: filtered(stored, options), from: config.dataDir };
  }
}

async function fromBridge(api: BridgeApi, callers: readonly Caller[], options: Filter): Promise<DeadLetterView[]> {
  const letters: DeadLetterView[] = [];
  for (const caller of callers) {
    let page: DeadLetterView[];
    let before = "";
    do {
      const answer = await api.must(`/v1/dead-letters?limit=${PAGE}${before}`, caller);
      page = (answer as { deadLetters: DeadLetterView[] }).deadLetters;
      letters.push(...page);
      before = `&before=${page.at(-1)?.cursor ?? 0}`;
    } while (page.length === PAGE);
  }
  return filtered(letters, options).toSorted((a, b) => b.cursor - a.cursor);
}

const filtered = (letters: readonly DeadLetterView[], { code, account }: Filter): DeadLetterView[] =>
  letters.filter(
    (one) => (code === undefined || one.error.code === code) && (account === undefined || one.account === account),
  );

function unknown(id: string): CommandError {
  return new CommandError(`there is no dead letter ${JSON.stringify(id)}`, {
    mend: "dingtalk-bridge dead-letters list",
  });
}

function listText(letters: readonly DeadLetterView[]): string {
  if (letters.length === 0) return "No dead letters.\n";
  const rows = letters.map(({ id, queue, account, error, deadAt }) => [
    id,
    queue,
    account,
    error.code,
    deadAt.slice(0, 19).replace("T", " "),
    oneLine(error.detail),
  ]);
  return `${table(COLUMNS, rows).join("\n")}\n`;
}

function showText({ id, queue, account, kind, error, attempts, uncertain, createdAt, deadAt }: DeadLetterView): string {
  const direction = queue === "inbox" ? "from DingTalk to the gateway" : "from the gateway to DingTalk";
  const lines = [
    `${id}  ${kind}, ${direction}, account ${account}`,
    `  received   ${createdAt}`,
    `  given up   ${deadAt}, after ${attempts} attempts that count`,
    `  because    ${error.code}: ${oneLine(error.detail, 500)}`,
    ...(uncertain ? ["  an attempt had no answer: it may have been delivered"] : []),
    `  its life   dingtalk-bridge trace ${id}`,
    `  next       dingtalk-bridge dead-letters replay ${id}, or discard`,
  ];
  return `${lines.join("\n")}\n`;
}
