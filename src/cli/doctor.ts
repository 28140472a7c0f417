import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { ConfigError, createDoctor, type loadConfig, runChecks } from "../app.ts";
import { type Finding, fine } from "../domain/finding.ts";
import { parseTarget } from "../domain/target.ts";
import { type CliCommand, type CommandContext, CommandError, EXIT, UsageError } from "./command.ts";
import { asTyped } from "./as-typed.ts";
import { Progress, reportText } from "./doctor-report.ts";
import { type SettingsOptions, addSettingsOptions, loadSettings } from "./settings.ts";

interface DoctorFlags extends SettingsOptions {
  json?: boolean;
  send?: string;
  account?: string;
  offline?: boolean;
  /** False with --no-connect. */
  connect: boolean;
}

/** What other programs read and the bridge does not. */
const OTHER_PROXIES = ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];

export const doctorCommand: CliCommand<DoctorFlags> = {
  name: "doctor",
  summary: "check everything that the bridge needs, and say how to mend it",
  description:
    "Looks at Node.js, settings, data directory, network, credentials, Stream, permissions, card template, gateway, plugin, tokens and quota. Works before the first start and beside a running bridge, which is then asked instead of opening a second connection. docs/doctor.md explains every code. Ends with 1 when there is an error.",
  examples: [
    ["dingtalk-bridge doctor", "everything"],
    ["dingtalk-bridge doctor --send user:staff001", "and a test message to this person"],
    ["dingtalk-bridge doctor --json --offline", "for programs, and nothing leaves this machine"],
  ],
  configure(command) {
    addSettingsOptions(command);
    command
      .option("--json", "for programs")
      .option("--send <to>", "send a test message to user:<staffId>")
      .option("--account <name>", "look at this account only")
      .option("--offline", "ask neither DingTalk nor the gateway")
      .option("--no-connect", "open no Stream connection (where a bridge runs on another machine)");
  },
  async run({ context, options }) {
    const send = recipient(options.send);
    if (send !== undefined && options.offline)
      throw new UsageError("--offline sends nothing, and --send asks for it", "leave one of them out");
    const progress = new Progress(options.json ? undefined : context.stderr);
    const findings = await look(context, { options, send, progress });
    const isWell = findings.every(({ level }) => level !== "error");
    const { version } = context;
    const report = { version, ok: isWell, findings };
    context.stdout.write(
      options.json ? `${JSON.stringify(report, null, 2)}\n` : asTyped(reportText(report), context.host.program),
    );
    return isWell ? EXIT.ok : EXIT.failed;
  },
};

function recipient(to: string | undefined): string | undefined {
  if (to === undefined) return undefined;
  const target = parseTarget(to);
  if (target?.kind === "user") return target.id;
  throw new UsageError("--send is not user:<staffId>", "dingtalk-bridge doctor --send user:staff001");
}

async function look(
  context: CommandContext,
  { options, send, progress }: { options: DoctorFlags; send: string | undefined; progress: Progress },
): Promise<Finding[]> {
  const settings = readSettings(context, options);
  if ("findings" in settings) return settings.findings;
  const { config, notes } = settings;
  const { account } = options;
  const names = config.accounts.filter(({ enabled }) => enabled).map(({ name }) => name);
  if (account !== undefined && !names.includes(account))
    throw new CommandError(`there is no account ${JSON.stringify(account)}`, { mend: `one of ${names.join(", ")}` });
  const doctor = createDoctor(config, {
    account,
    offline: options.offline,
    connect: options.connect,
    send,
    version: context.version,
    nodeVersion: process.version,
    user: process.getuid?.(),
    insideContainer: context.host.insideContainer,
    shipped: shippedPlugin(),
    otherProxies: OTHER_PROXIES.filter((name) => (context.env[name] ?? "") !== ""),
    signal: context.signal,
  });
  try {
    const found = await runChecks(doctor.checks, (waiting) => progress.show(waiting));
    context.signal.throwIfAborted();
    const said = notes.map((note): Finding => ({ check: "settings", code: "config_note", level: "note", text: note }));
    const ok = fine("settings", `read, for ${names.length === 1 ? "account" : "accounts"} ${names.join(", ")}`);
    const at = found.findIndex(({ check }) => check !== "node");
    return found.toSpliced(at === -1 ? found.length : at, 0, ok, ...said);
  } finally {
    progress.end();
    await doctor.close();
  }
}

function readSettings(
  context: CommandContext,
  options: SettingsOptions,
): ReturnType<typeof loadConfig> | { findings: Finding[] } {
  try {
    return loadSettings(context, options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return {
      findings: error.problems.map(({ setting, problem, mend }) => ({
        check: "settings",
        code: "config_invalid",
        level: "error",
        text: `${setting} ${problem}`,
        mend,
      })),
    };
  }
}

/** The plugin of this release, by the file that came with it. */
function shippedPlugin(): { name: string; version: string } | undefined {
  const manifest = new URL("../../openclaw-plugin/package.json", import.meta.url);
  if (!existsSync(manifest)) return undefined;
  return JSON.parse(readFileSync(manifest, "utf8")) as { name: string; version: string };
}
