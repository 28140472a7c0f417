import { BridgeError, type Config, type ErasureReport, eraseStored, storedTraces } from "../app.ts";
import { setTimeout } from "node:timers/promises";
import { type ApiAnswer, BridgeApi, BridgeAway, type Caller } from "./bridge.ts";
import { type CliCommand, type CommandContext, CommandError, EXIT, UsageError } from "./command.ts";
import { type SettingsOptions, addSettingsOptions, loadSettings } from "./settings.ts";
import { tellWhenSlow } from "./slow.ts";
import { noDatabase } from "./store.ts";

interface Options extends SettingsOptions {
  user?: string;
  conversation?: string;
  account?: string;
  openToo?: boolean;
  json?: boolean;
}

interface Request {
  kind: "user" | "conversation";
  id: string;
  account: string | undefined;
  openToo: boolean;
}

/** With much stored the bridge reads and rewrites all of it. */
const WITHIN_MS = 10 * 60_000;
/** How long what is under way is waited for with --open-too. */
const PATIENCE_MS = 30_000;
const AGAIN_MS = 1_000;
const SLOW = "still erasing: a large database takes its time";

export const eraseCommand: CliCommand<Options> = {
  name: "erase",
  summary: "delete what is stored of a person or of a conversation",
  description:
    "Deletes texts, names, files, growing replies, dead letters and conversations of a person, and what others said about them by id; the database is written anew, so that nothing is left in it. Ids of messages stay for 7 days, so that a repetition is still recognised. Asks the running bridge, else works on its data directory. Not touched: logs, backups, DingTalk and the gateway.",
  examples: [
    ["dingtalk-bridge erase --user staff001", "refused while messages of theirs are not finished"],
    ["dingtalk-bridge erase --user staff001 --open-too", "also what still waits: it goes nowhere then"],
  ],
  configure(command) {
    command
      .option("--user <staffId>", "the person; case-sensitive")
      .option("--conversation <id>", "instead of a person: a conversation, e.g. a group")
      .option("--account <name>", "of this robot only")
      .option("--open-too", "also messages that wait; waits for what is under way")
      .option("--json", "for programs");
    addSettingsOptions(command);
  },
  async run({ context, options }) {
    const request = requestOf(options);
    const { config } = loadSettings(context, options);
    const done = new Map<string, ErasureReport>();
    const byBridge = await withPatience(context, request, () =>
      tellWhenSlow(context.stderr, SLOW, () => erase(context, config, request, done)),
    );
    const report = {
      ...[...done.values()].reduce(sum),
      notServed: byBridge ? notServed(config, request) : [],
    };
    if (options.json) context.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    else context.stdout.write(textOf(report));
    return report.left === 0 && report.compacted && report.notServed.length === 0 ? EXIT.ok : EXIT.failed;
  },
};

function requestOf({ user, conversation, account, openToo = false }: Options): Request {
  const id = user ?? conversation;
  if (id === undefined || (user !== undefined && conversation !== undefined)) {
    throw new UsageError("whose messages? Give --user or --conversation", "dingtalk-bridge erase --user staff001");
  }
  if (id.trim() === "") throw new UsageError("the id is empty");
  return { kind: user === undefined ? "conversation" : "user", id, account, openToo };
}

/**
 * By the running bridge, account by account; on the data directory where none answers, and false then. `done` gets what it came to, and
 * is not done again when some accounts have to be asked once more.
 */
async function erase(
  context: CommandContext,
  config: Config,
  request: Request,
  done: Map<string, ErasureReport>,
): Promise<boolean> {
  const api = new BridgeApi(config, context.signal);
  try {
    for (const caller of api.callers(request.account)) {
      const { account: name = "" } = caller;
      if (!done.has(name)) done.set(name, await byBridge(api, caller, request));
    }
    return true;
  } catch (error) {
    if (error instanceof NotFinished && done.size > 0) {
      throw new NotFinished(`${error.message}; of ${[...done.keys()].join(", ")} all is erased`, { mend: error.mend });
    }
    if (!(error instanceof BridgeAway) || done.size > 0) throw error;
    done.set("", await byHand(config, request, error));
    return false;
  }
}

/** Accounts with messages of theirs that no token of these settings speaks for: they wait until they are served again. */
function notServed(config: Config, { kind, id, account }: Request): string[] {
  if (account !== undefined || config.tokens.length > 0) return [];
  const served = new Set(config.accounts.filter(({ enabled }) => enabled).map(({ name }) => name));
  try {
    const query = { id: `${kind}:${id}`, last: 1_000, withText: false };
    const names = (storedTraces(config, query) ?? []).map((trace) => trace.account);
    return [...new Set(names.filter((name) => !served.has(name)))];
  } catch {
    // Of another user, or on another machine.
    return [];
  }
}

async function byBridge(api: BridgeApi, caller: Caller, { kind, id, openToo }: Request): Promise<ErasureReport> {
  const path = `/v1/${kind === "user" ? "people" : "conversations"}/${encodeURIComponent(id)}${openToo ? "?openToo=true" : ""}`;
  const { status, body } = await api.call(path, caller, { method: "DELETE", withinMs: WITHIN_MS });
  if (status < 400) return body as ErasureReport;
  if (codeOf({ status, body }) !== "not_finished") throw api.refusal(status, body);
  const { detail, mend } = body as { detail: string; mend?: string };
  throw new NotFinished(detail, { mend });
}

async function byHand(config: Config, request: Request, away: BridgeAway): Promise<ErasureReport> {
  try {
    const report = await eraseStored(config, request);
    if (!report) throw noDatabase(config.dataDir);
    return report;
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error;
    if (error.code === "not_finished") {
      throw new NotFinished(error.message, {
        mend: "start the bridge so that they are delivered, or take them out as well: --open-too",
      });
    }
    if (error.code !== "data_dir_locked") throw error;
    throw new CommandError(`${away.message}, but one runs on this data directory: ${error.message}`, {
      mend: "name its port: --port, or run the command with the settings of the bridge",
    });
  }
}

/** Messages of theirs are not finished. */
class NotFinished extends CommandError {}

/** With --open-too what is under way may come to its end while the command waits. */
async function withPatience<T>(
  { stderr, signal }: CommandContext,
  { openToo }: Request,
  work: () => Promise<T>,
): Promise<T> {
  const until = Date.now() + PATIENCE_MS;
  for (let told = false; ;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof NotFinished) || !openToo || Date.now() >= until) throw error;
      if (!told) stderr.write(`${error.message}; waiting up to ${PATIENCE_MS / 1_000} s\n`);
      told = true;
      await setTimeout(AGAIN_MS, undefined, { signal });
    }
  }
}

const codeOf = ({ body }: ApiAnswer): unknown => (body as { code?: unknown } | null)?.code;

function sum(a: ErasureReport, b: ErasureReport): ErasureReport {
  return {
    messages: a.messages + b.messages,
    replies: a.replies + b.replies,
    streams: a.streams + b.streams,
    deadLetters: a.deadLetters + b.deadLetters,
    cancelled: a.cancelled + b.cancelled,
    others: a.others + b.others,
    conversations: a.conversations + b.conversations,
    files: a.files + b.files,
    left: a.left + b.left,
    compacted: b.compacted,
    backups: b.backups,
  };
}

function textOf(report: ErasureReport & { notServed: readonly string[] }): string {
  const { messages, replies, streams, deadLetters, cancelled, others, conversations, files, left, backups } = report;
  const rows: [string, number][] = [
    ["messages from them", messages],
    ["messages to them", replies],
    ["  of both: dead letters", deadLetters],
    ["  of both: that still waited", cancelled],
    ["replies that grew", streams],
    ["files", files],
    ["conversations", conversations],
    ["messages of others that named them", others],
  ];
  const lines = [
    "erased:",
    ...rows.map(([name, n]) => `  ${name.padEnd(36)}${n}`),
    ...(left > 0 ? [`left: ${left} messages of others that name them and are not finished; run this again later`] : []),
    ...(report.compacted
      ? []
      : [
          "left: unused places of the database, which could not be written anew (somebody else reads it, or there is no room); run this again",
        ]),
    ...(report.notServed.length > 0
      ? [
          `left: what is kept of them for ${report.notServed.join(", ")}, which the bridge does not serve now; stop the bridge, or enable the account, and run this again`,
        ]
      : []),
    ...(backups.length > 0
      ? [`may hold it still: ${backups.join(", ")} in the data directory; remove them when you can`]
      : []),
    "not touched: logs, your own backups, and what DingTalk and the gateway keep",
  ];
  return `${lines.join("\n")}\n`;
}
