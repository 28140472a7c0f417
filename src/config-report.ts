import { type LoadOptions, type Origin, loadConfig } from "./config.ts";
import { listSettings } from "./config-schema.ts";
import { ACCOUNT_FIELDS } from "./config-variables.ts";
import type { Config } from "./config-types.ts";

/** One setting as it is used. */
export interface SettingReport {
  /** As in a file: `gateway.url`, `accounts.main.appKey`. */
  path: string;
  /** Null where nothing is set; secrets are replaced by a remark, lists are lists. */
  value: string | number | boolean | readonly string[] | null;
  /** The variable that sets it, if there is one. */
  variable: string | null;
  origin: Origin;
}

const MASKED = "(set, not shown)";

/**
 * Every setting that the daemon would run with, and where each comes from; accounts first. Secrets never leave this function.
 *
 * @throws ConfigError with everything that is wrong.
 */
export function explainConfig(options: LoadOptions): { config: Config; settings: SettingReport[]; notes: string[] } {
  const { config, notes, origins } = loadConfig(options);
  const origin = (path: string): Origin => origins.get(path) ?? { kind: "default", name: "default" };
  const settings = config.accounts.flatMap((account): SettingReport[] => {
    const prefix = `accounts.${account.name}.`;
    const variable = (name: string): string | null => (account.name === "main" ? name : null);
    const { appKey, appSecret, robotCode } = ACCOUNT_FIELDS;
    const replies = [...origins.keys()].filter((path) => path.startsWith(`${prefix}reply.`));
    return [
      { path: `${prefix}enabled`, value: account.enabled, variable: null, origin: origin(`${prefix}appKey`) },
      {
        path: `${prefix}appKey`,
        value: account.appKey,
        variable: variable(appKey.env),
        origin: origin(`${prefix}appKey`),
      },
      {
        path: `${prefix}appSecret`,
        value: MASKED,
        variable: variable(appSecret.env),
        origin: origin(`${prefix}appSecret`),
      },
      {
        path: `${prefix}robotCode`,
        value: account.robotCode,
        variable: variable(robotCode.env),
        origin: origin(`${prefix}robotCode`),
      },
      ...replies.map((path) => ({
        path,
        value: shown(valueAt(account, path.slice(prefix.length))),
        variable: null,
        origin: origin(path),
      })),
    ];
  });
  for (const { path, setting } of listSettings()) {
    const value = path === "token" ? config.tokens[0] : valueAt(config, path);
    settings.push({
      path,
      value: setting.sensitive && value !== undefined ? MASKED : shown(value),
      variable: setting.env,
      origin: origin(path),
    });
  }
  return { config, settings, notes };
}

function valueAt(node: unknown, path: string): unknown {
  let found = node;
  for (const key of path.split(".")) found = (found as Record<string, unknown>)[key];
  return found;
}

function shown(value: unknown): SettingReport["value"] {
  if (value === undefined) return null;
  // The types of the schema allow nothing else.
  return value as string | number | boolean | readonly string[];
}
