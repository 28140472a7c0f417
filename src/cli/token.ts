import type { Config } from "../app.ts";
import { deriveToken } from "../domain/account.ts";
import { type CliCommand, EXIT } from "./command.ts";
import { type SettingsOptions, addSettingsOptions, loadSettings } from "./settings.ts";

export const tokenCommand: CliCommand<SettingsOptions & { json?: boolean }> = {
  name: "token",
  summary: "print the token that another gateway has to use",
  description:
    "Prints the token of each account, which bridge and plugin compute from its credentials: another gateway than OpenClaw needs it. It is a secret.",
  examples: [["dingtalk-bridge token", "one line for each account: name, token"]],
  configure(command) {
    addSettingsOptions(command);
    command.option("--json", "an object: account → token, null where one is set");
  },
  async run({ context, options }) {
    const { config } = loadSettings(context, options);
    context.stdout.write(options.json ? `${JSON.stringify(tokensOf(config))}\n` : tokenLines(config));
    return Promise.resolve(EXIT.ok);
  },
};

/** Where a token is set there is nothing to print that its owner does not have. */
export function tokenLines(config: Config): string {
  const tokens = tokensOf(config);
  if (tokens === null) return "BRIDGE_TOKEN is set: both sides use that.\n";
  return Object.entries(tokens)
    .map(([name, token]) => `${name}  ${token ?? "bridgeToken of OpenClaw's file is set: both sides use that."}\n`)
    .join("");
}

function tokensOf(config: Config): Record<string, string | null> | null {
  if (config.tokens.length > 0) return null;
  const accounts = config.accounts.filter(({ enabled }) => enabled);
  return Object.fromEntries(
    accounts.map(({ name, appKey, appSecret, tokens }) => [
      name,
      tokens === undefined ? deriveToken(appKey, appSecret) : null,
    ]),
  );
}
