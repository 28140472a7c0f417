import { createApp, createLogger } from "../app.ts";
import { type CliCommand, EXIT } from "./command.ts";
import { reloadSettings } from "./reload.ts";
import { type SettingsOptions, addSettingsOptions, loadSettings } from "./settings.ts";

const FATAL_STOP_MS = 5_000;
/** What a deadline cut off may still hold sockets: the status is final all the same. */
const LINGER_MS = 500;

export const startCommand: CliCommand<SettingsOptions> = {
  name: "start",
  summary: "run the bridge (default)",
  description:
    "Runs the bridge until SIGTERM or Ctrl-C; SIGHUP reads accounts and limits again. Two settings are needed: DINGTALK_APP_KEY and DINGTALK_APP_SECRET, or an account in OpenClaw's own file; docs/configuration.md lists all.",
  examples: [
    ["dingtalk-bridge", "with the settings of the environment"],
    ["dingtalk-bridge start --config ./bridge.json5", "several robots, from a file"],
  ],
  configure: addSettingsOptions,
  async run({ context, options }) {
    const { version, host } = context;
    const { config, notes } = loadSettings(context, options);
    const logger = createLogger({ level: config.log.level, format: config.log.format, version });
    for (const note of notes) logger.info({ note }, "configuration");
    const accounts = config.accounts.filter(({ enabled }) => enabled).map(({ name }) => name);
    logger.info({ accounts, dataDir: config.dataDir, gateway: config.gateway.url }, "starting");
    const { insideContainer } = host;
    const app = createApp(config, { logger, version, processMetrics: true, insideContainer });

    const ended = Promise.withResolvers<number>();
    let stopping = false;
    let failed = false;
    let isOver = false;
    const end = (clean: boolean): void => {
      isOver = true;
      if (failed) ended.resolve(EXIT.defect);
      else ended.resolve(clean ? EXIT.ok : EXIT.failed);
    };
    /** What is under way counts as interrupted, and is tried again at the next start. */
    const cutOff = (why: string): void => {
      if (isOver) return;
      logger.warn({ why, ...app.unfinished() }, "stop cut off; what was under way is tried again at the next start");
      end(false);
    };
    const stop = (why: string, withinMs: number): void => {
      const signal = AbortSignal.timeout(withinMs);
      signal.addEventListener("abort", () => cutOff(`${withinMs} ms have passed`));
      if (stopping) return;
      stopping = true;
      logger.info({ why, withinMs }, "stopping");
      app.stop({ signal }).then(end, (error: unknown) => {
        logger.error({ err: error }, "stopping failed");
        end(false);
      });
    };
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      host.onSignal(signal, () => (stopping ? cutOff(signal) : stop(signal, config.shutdown.deadlineMs)));
    }
    const started = app.start();
    let reloaded = started.catch(() => undefined);
    host.onSignal("SIGHUP", () => {
      // Where a person sits, it is the terminal that was closed: nobody would see the bridge any more.
      if (context.stdin.isTTY) return stopping ? undefined : stop("SIGHUP", config.shutdown.deadlineMs);
      reloaded = reloaded.then(async () => {
        if (!stopping) await reloadSettings({ load: () => loadSettings(context, options), app, logger });
      });
    });
    host.onFatal((kind, error) => {
      // A timer may throw the same again and again until the end.
      if (failed) return;
      failed = true;
      logger.fatal({ err: error, kind }, "this is a defect; please report it with this line");
      stop(kind, FATAL_STOP_MS);
    });

    // A start that hangs has to be cut off like a stop that does.
    const status = await Promise.race([started.then(() => ended.promise), ended.promise]);
    host.exitAfter(LINGER_MS, status);
    return status;
  },
};
