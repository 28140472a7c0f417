import { type Trace, type TraceStep, storedTraces } from "../app.ts";
import { type CliCommand, CommandError, EXIT, UsageError } from "./command.ts";
import { type SettingsOptions, addSettingsOptions, loadSettings } from "./settings.ts";
import { noDatabase, reading } from "./store.ts";
import { oneLine } from "./table.ts";

interface Options extends SettingsOptions {
  last?: string;
  text?: boolean;
  json?: boolean;
}

const USUAL = 10;
const MOST = 1_000;

export const traceCommand: CliCommand<Options> = {
  name: "trace",
  summary: "the life of messages: received, stored, acked, posted, answered",
  description:
    "Shows what became of messages, step by step, with the times and the gaps between them: a message by its id (DingTalk's, the envelope's, or that of a reply), or the newest of a person or a conversation. Reads the data directory, beside a running bridge or without one, and changes nothing.",
  examples: [
    ["dingtalk-bridge trace --last 5", "the newest messages of everybody"],
    ["dingtalk-bridge trace staff001", "the newest of one person"],
    ["dingtalk-bridge trace main:msgXYZ== --text", "one message, with what was said"],
  ],
  configure(command) {
    command.argument("[id]", "staffId, message id, envelope id, user:<staffId> or conversation:<id>");
    addSettingsOptions(command);
    command
      .option("--last <n>", `at most so many messages, the newest (${USUAL})`)
      .option("--text", "with what was said")
      .option("--json", "for programs");
  },
  async run({ context, options, args: [id] }) {
    const last = numberOf(options.last);
    const { config } = loadSettings(context, options);
    const served = config.accounts.filter(({ enabled }) => enabled).map(({ name }) => name);
    const query = { served, last, withText: options.text ?? false, ...(id !== undefined && { id }) };
    const traces = reading(config.dataDir, () => storedTraces(config, query));
    if (!traces) throw noDatabase(config.dataDir);
    if (traces.length === 0 && id !== undefined) {
      throw new CommandError(`nothing is stored under ${JSON.stringify(id)}`, {
        mend: "ids are case-sensitive, and settled messages are forgotten after retention.settledMs (7 days); the newest: dingtalk-bridge trace --last 5",
      });
    }
    context.stdout.write(options.json ? `${JSON.stringify(traces, null, 2)}\n` : textOf(traces));
    return Promise.resolve(EXIT.ok);
  },
};

function numberOf(given = String(USUAL)): number {
  const n = /^\d{1,6}$/.test(given) ? Number(given) : 0;
  if (n >= 1 && n <= MOST) return n;
  throw new UsageError(`--last is not a number from 1 to ${MOST}`, "dingtalk-bridge trace --last 5");
}

function textOf(traces: readonly Trace[]): string {
  if (traces.length === 0) return "No messages yet.\n";
  return traces.map((trace) => `${linesOf(trace).join("\n")}\n`).join("\n");
}

function linesOf(trace: Trace): string[] {
  const { id, direction, kind, state, sender, conversation, steps, text, replies } = trace;
  const from = direction === "in" ? `from ${sender ?? "nobody known"}` : `to ${conversation ?? "nobody known"}`;
  const where = direction === "in" && conversation !== null ? `, ${conversation}` : "";
  const several = new Set(steps.map(({ of }) => of)).size > 1;
  return [
    `${id}  ${kind}, ${state}`,
    `  ${from}${where}`,
    ...said("  said", text),
    ...steps.map((step) => stepLine(step, several && step.of !== id)),
    ...replies.flatMap((reply) => said(`  ${reply.id} said`, reply.text)),
  ];
}

function said(label: string, text: string | null | undefined): string[] {
  if (text === undefined) return [];
  return [`${label}: ${text === null ? "(not kept)" : oneLine(text, 400)}`];
}

function stepLine({ at, sinceMs, step, detail, of }: TraceStep, foreign: boolean): string {
  const gap = sinceMs === null ? "" : `+${gapText(sinceMs)}`;
  const about = [oneLine(detail, 300), foreign ? of : ""].filter((part) => part !== "").join("  ");
  return `  ${(at ?? "").padEnd(24)}  ${gap.padStart(9)}  ${step.padEnd(26)}  ${about}`.trimEnd();
}

/** Short enough for a column: `12 ms`, `3.4 s`, `5 min`, `2.5 h`. */
function gapText(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${(ms / 60_000).toFixed(1)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}
