#!/usr/bin/env node
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BridgeError, ConfigError, createApp, createLogger, loadConfig } from "./app.ts";
import { pluginPath } from "./cli/plugin-path.ts";
import { quotaLines } from "./cli/quota.ts";
import { tokenLines } from "./cli/token.ts";

/** sysexits(3): what a supervisor can tell apart. */
const EXIT = { ok: 0, unclean: 1, usage: 64, fatal: 70, config: 78 } as const;
/** Reasons not to start that may be gone at the next try, unlike a wrong setting. */
const PASSING: ReadonlySet<string> = new Set(["port_unavailable", "store_unavailable"]);
const FATAL_STOP_MS = 5_000;

const USAGE = `Usage: dingtalk-bridge [command] [options]

Commands:
  start              run the bridge (default)
  sandbox            try it without a DingTalk account and without a gateway
  token              print the token that another gateway has to use
  plugin-path        print where the OpenClaw plugin is: openclaw plugins install "$(dingtalk-bridge plugin-path)"
  quota              the month's use of DingTalk's budgets, and what-if (--json)

Options of start and token:
  --config FILE      JSON5 settings file        (BRIDGE_CONFIG)
  --data-dir DIR     where messages are kept    (BRIDGE_DATA_DIR, ./data)
  --port N           port of the API            (BRIDGE_PORT, 8790)

Options of sandbox:
  --say TEXT         say one thing, print the answer, end
  --file PATH        send this file, the same way; may be given again
  --gateway URL      use this gateway instead of the scripted one
  --port N           port of the bridge's API

  --version, --help

Settings: docs/configuration.md. Two are needed: DINGTALK_APP_KEY and DINGTALK_APP_SECRET, or an account in OpenClaw's own file.
`;

/** As installed, or the clone. */
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const OPTIONS = {
  config: { type: "string" },
  "data-dir": { type: "string" },
  port: { type: "string" },
  say: { type: "string" },
  file: { type: "string", multiple: true },
  gateway: { type: "string" },
  json: { type: "boolean" },
  version: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

async function main(argv: string[]): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({ args: argv, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    return fail(EXIT.usage, `${(error as Error).message}\n\n${USAGE}`);
  }
  const { values, positionals } = parsed;
  if (values.help) return say(USAGE);
  if (values.version) return say(`${version}\n`);
  const command = positionals[0] ?? "start";
  const run = positionals.length > 1 ? undefined : COMMANDS[command];
  if (!run) {
    return fail(EXIT.usage, `unknown command: ${positionals.join(" ")}\n\n${USAGE}`);
  }
  try {
    return await run(values);
  } catch (error) {
    if (error instanceof ConfigError) return fail(EXIT.config, `dingtalk-bridge cannot start:\n${error.message}\n`);
    if (!(error instanceof BridgeError)) throw error;
    const mend = error.mend === undefined ? "" : `\n  mend: ${error.mend}`;
    return fail(PASSING.has(error.code) ? EXIT.unclean : EXIT.config, `dingtalk-bridge: ${error.message}${mend}\n`);
  }
}

interface Values {
  config?: string;
  "data-dir"?: string;
  port?: string;
  say?: string;
  file?: string[];
  gateway?: string;
  json?: boolean;
}

const COMMANDS: Record<string, (values: Values) => Promise<number>> = {
  start,
  sandbox,
  token: async (values) => say(tokenLines(load(values).config)),
  "plugin-path": () => Promise.resolve(say(`${pluginPath(PACKAGE)}\n`)),
  quota: async (values) => say(await quotaLines(load(values).config, { json: values.json ?? false, now: Date.now() })),
};

function load(values: Values): ReturnType<typeof loadConfig> {
  return loadConfig({
    env: process.env,
    flags: { config: values.config, dataDir: values["data-dir"], port: values.port },
  });
}

async function start(values: Values): Promise<number> {
  const { config, notes } = load(values);
  const logger = createLogger({ level: config.log.level, format: config.log.format, version });
  for (const note of notes) logger.info({ note }, "configuration");
  const accounts = config.accounts.filter(({ enabled }) => enabled).map(({ name }) => name);
  logger.info({ accounts, dataDir: config.dataDir, gateway: config.gateway.url }, "starting");
  const app = createApp(config, { logger, version, processMetrics: true, insideContainer: existsSync("/.dockerenv") });

  const ended = Promise.withResolvers<number>();
  let stopping = false;
  let failed = false;
  const end = (clean: boolean): void => {
    if (failed) ended.resolve(EXIT.fatal);
    else ended.resolve(clean ? EXIT.ok : EXIT.unclean);
  };
  const stop = (why: string, withinMs: number): void => {
    const signal = AbortSignal.timeout(withinMs);
    signal.addEventListener("abort", () => end(false));
    if (stopping) return;
    stopping = true;
    logger.info({ why, withinMs }, "stopping");
    app.stop({ signal }).then(end, (error: unknown) => {
      logger.error({ err: error }, "stopping failed");
      end(false);
    });
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => (stopping ? end(false) : stop(signal, config.shutdown.deadlineMs)));
  const fatal = (kind: string) => (error: unknown) => {
    // A timer may throw the same again and again until the end.
    if (failed) return;
    failed = true;
    logger.fatal({ err: error, kind }, "this is a defect; please report it with this line");
    stop(kind, FATAL_STOP_MS);
  };
  process.on("uncaughtException", fatal("uncaughtException"));
  process.on("unhandledRejection", fatal("unhandledRejection"));

  await app.start();
  const status = await ended.promise;
  // What a deadline cut off may still hold sockets: the status is final all the same.
  setTimeout(() => process.exit(status), 500).unref();
  return status;
}

async function sandbox(values: Values): Promise<number> {
  // Loaded only here: the daemon needs neither a simulator nor its memory.
  const { runSandbox } = await import("./sandbox/terminal.ts");
  const port = values.port ?? (values.gateway === undefined ? "0" : "8790");
  const quit = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => quit.abort());
  return runSandbox({
    version,
    port: Number(port),
    input: process.stdin,
    output: process.stdout,
    signal: quit.signal,
    ...(values.say !== undefined && { say: values.say }),
    ...(values.file !== undefined && { files: values.file }),
    ...(values.gateway !== undefined && { gatewayUrl: values.gateway }),
  });
}

function say(text: string): number {
  process.stdout.write(text);
  return EXIT.ok;
}

function fail(status: number, text: string): number {
  process.stderr.write(text);
  return status;
}

process.exitCode = await main(process.argv.slice(2));
