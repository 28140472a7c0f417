#!/usr/bin/env node
import { existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { BridgeError, ConfigError, createApp, createLogger, loadConfig } from "./app.ts";
import { tokenLines } from "./cli/token.ts";

/** sysexits(3): what a supervisor can tell apart. */
const EXIT = { ok: 0, unclean: 1, usage: 64, fatal: 70, config: 78 } as const;
const FATAL_STOP_MS = 5_000;

const USAGE = `Usage: dingtalk-bridge [command] [options]

Commands:
  start              run the bridge (default)
  sandbox            try it without a DingTalk account and without a gateway
  token              print the token that another gateway has to use

Options of start and token:
  --config FILE      JSON5 settings file        (BRIDGE_CONFIG)
  --data-dir DIR     where messages are kept    (BRIDGE_DATA_DIR, ./data)
  --port N           port of the API            (BRIDGE_PORT, 8790)

Options of sandbox:
  --say TEXT         say one thing, print the answer, end
  --gateway URL      use this gateway instead of the scripted one
  --port N           port of the bridge's API

  --version, --help

Settings: docs/configuration.md. Two are needed: DINGTALK_APP_KEY and DINGTALK_APP_SECRET.
`;

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const OPTIONS = {
  config: { type: "string" },
  "data-dir": { type: "string" },
  port: { type: "string" },
  say: { type: "string" },
  gateway: { type: "string" },
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
    return fail(
      error.code === "port_unavailable" ? EXIT.unclean : EXIT.config,
      `dingtalk-bridge: ${error.message}${mend}\n`,
    );
  }
}

interface Values {
  config?: string;
  "data-dir"?: string;
  port?: string;
  say?: string;
  gateway?: string;
}

const COMMANDS: Record<string, (values: Values) => Promise<number>> = {
  start,
  sandbox,
  token: async (values) => say(tokenLines(load(values).config)),
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
  const app = createApp(config, { logger, version, insideContainer: existsSync("/.dockerenv") });

  const ended = Promise.withResolvers<number>();
  let asked = false;
  const stop = (why: string, status: number, withinMs: number): void => {
    if (asked) return ended.resolve(EXIT.unclean);
    asked = true;
    logger.info({ why, withinMs }, "stopping");
    const signal = AbortSignal.timeout(withinMs);
    signal.addEventListener("abort", () => ended.resolve(status === EXIT.ok ? EXIT.unclean : status));
    app.stop({ signal }).then(
      (clean) => ended.resolve(clean || status !== EXIT.ok ? status : EXIT.unclean),
      (error: unknown) => {
        logger.error({ err: error }, "stopping failed");
        ended.resolve(EXIT.unclean);
      },
    );
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => stop(signal, EXIT.ok, config.shutdown.deadlineMs));
  const fatal = (kind: string) => (error: unknown) => {
    logger.fatal({ err: error, kind }, "this is a defect; please report it with this line");
    stop(kind, EXIT.fatal, FATAL_STOP_MS);
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
