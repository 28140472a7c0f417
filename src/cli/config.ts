import { ConfigError, type SettingReport, explainConfig } from "../app.ts";
import { type CliCommand, EXIT } from "./command.ts";
import { type SettingsOptions, addSettingsOptions, sourcesOf } from "./settings.ts";
import { table } from "./table.ts";

interface Options extends SettingsOptions {
  check?: boolean;
  changed?: boolean;
  json?: boolean;
}

export const configCommand: CliCommand<Options> = {
  name: "config",
  summary: "the settings as they are used, and where each comes from",
  description:
    "Prints every setting with its value and its source: a flag, an environment variable, the file of --config, OpenClaw's file, or the default. Secrets are not shown. Starts nothing and asks nobody.",
  examples: [
    ["dingtalk-bridge config --changed", "what differs from the defaults"],
    ["dingtalk-bridge config --check", "status 78 and everything that is wrong, or 0"],
  ],
  configure(command) {
    addSettingsOptions(command);
    command
      .option("--check", "print only whether the settings can be used")
      .option("--changed", "leave out what is a default")
      .option("--json", "for programs");
  },
  async run({ context, options }) {
    const { stdout } = context;
    await Promise.resolve();
    try {
      const { settings, notes, config } = explainConfig(sourcesOf(context, options));
      const list = options.changed ? settings.filter(({ origin }) => origin.kind !== "default") : settings;
      const names = config.accounts.map(({ name, enabled }) => (enabled ? name : `${name} (disabled)`));
      if (options.json) {
        stdout.write(
          `${JSON.stringify({ ok: true, problems: [], notes, ...(!options.check && { settings: list }) }, null, 2)}\n`,
        );
      } else if (options.check) {
        const lines = [
          `The settings can be used. Accounts: ${names.join(", ")}.`,
          ...notes.map((note) => `note: ${note}`),
        ];
        stdout.write(`${lines.join("\n")}\n`);
      } else stdout.write(textOf(list, notes));
      return EXIT.ok;
    } catch (error) {
      if (!options.json || !(error instanceof ConfigError)) throw error;
      stdout.write(`${JSON.stringify({ ok: false, problems: error.problems, notes: [] }, null, 2)}\n`);
      return EXIT.config;
    }
  },
};

function textOf(settings: readonly SettingReport[], notes: readonly string[]): string {
  const rows = settings.map(({ path, value, origin }) => [path, valueText(value), sourceText(origin)]);
  return `${[...table(["setting", "value", "source"], rows), ...notes.map((note) => `note: ${note}`)].join("\n")}\n`;
}

function valueText(value: SettingReport["value"]): string {
  if (value === null) return "-";
  if (typeof value === "object") return value.length === 0 ? "-" : value.join(", ");
  return String(value);
}

function sourceText({ kind, name }: SettingReport["origin"]): string {
  switch (kind) {
    case "default":
      return "default";
    case "flag":
      return `flag ${name}`;
    case "environment":
      return `environment ${name}`;
    case "file":
      return `file: ${name}`;
    case "openclaw":
      return `OpenClaw's file: ${name}`;
  }
}
