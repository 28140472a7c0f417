import { type App, type Config, ConfigError, type Logger } from "../app.ts";
import { coerceError } from "../domain/errors.ts";

/** Reads the settings again and puts what can change into effect. Settings that are wrong change nothing. Never rejects. */
export async function reloadSettings(options: {
  load: () => { config: Config; notes: string[] };
  app: Pick<App, "reload">;
  logger: Logger;
}): Promise<void> {
  const { load, app, logger } = options;
  try {
    const { config, notes } = load();
    for (const note of notes) logger.info({ note }, "configuration");
    await app.reload(config);
  } catch (thrown) {
    if (thrown instanceof ConfigError) {
      const problems = thrown.problems.map(({ setting, problem, mend }) => `${setting} ${problem}. ${mend}`);
      logger.error({ code: thrown.code, problems }, "settings not read again: nothing is changed");
    } else logger.error({ err: coerceError(thrown) }, "settings not read again");
  }
}
