import type { Command } from "commander";
import { type LoadOptions, loadConfig } from "../app.ts";
import type { CommandContext } from "./command.ts";

/** What `init` writes and every command reads, in the working directory. */
export const ENV_FILE = ".env";

/** Values of the options that every command has which reads the settings. */
export interface SettingsOptions {
  config?: string;
  dataDir?: string;
  port?: string;
}

export function addSettingsOptions(command: Command): void {
  command
    .option("--config <file>", "JSON5 settings file (BRIDGE_CONFIG)")
    .option("--data-dir <dir>", "where messages are kept (BRIDGE_DATA_DIR, ./data)")
    .option("--port <n>", "port of the bridge's API (BRIDGE_PORT, 8790)");
}

/** Where the settings are read from: what was typed, the environment, and the user's home. */
export function sourcesOf({ env, cwd }: CommandContext, { config, dataDir, port }: SettingsOptions): LoadOptions {
  const { HOME } = env;
  return { env, cwd, envFile: ENV_FILE, flags: { config, dataDir, port }, ...(HOME && { homeDir: HOME }) };
}

/** The settings as the daemon would read them from the same place. Throws ConfigError. */
export function loadSettings(context: CommandContext, options: SettingsOptions): ReturnType<typeof loadConfig> {
  return loadConfig(sourcesOf(context, options));
}
