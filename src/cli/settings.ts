import type { Command } from "commander";
import { loadConfig } from "../app.ts";
import type { CommandContext } from "./command.ts";

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

/** The settings as the daemon would read them from the same place. Throws ConfigError. */
export function loadSettings(context: CommandContext, options: SettingsOptions): ReturnType<typeof loadConfig> {
  const { config, dataDir, port } = options;
  return loadConfig({ env: context.env, flags: { config, dataDir, port } });
}
