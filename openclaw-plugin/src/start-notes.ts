import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import {
  type Account,
  CHANNEL,
  type Environment,
  accountSections,
  channelSection,
  isConfigured,
  listAccountIds,
  resolveAccount,
} from "./accounts.ts";
import type { Log } from "./bridge-http.ts";
import { unreadSettingLines } from "./settings.ts";

/** What the log says about the configuration when an account starts; what concerns the whole section is said by the first one only. */
export function noteSettings(log: Log, cfg: OpenClawConfig, account: Account, env: Environment): void {
  const first = listAccountIds(cfg, env).find((id) => {
    const one = resolveAccount(cfg, id, env);
    return one.enabled && isConfigured(one);
  });
  if (first === account.accountId) {
    const lines = unreadSettingLines(cfg);
    for (const line of lines.info) log.info(line);
    for (const line of lines.warn) log.warn(line);
  }
  if (account.openByDefault) {
    const own = accountSections(channelSection(cfg))[account.accountId];
    const setting = `channels.${CHANNEL}.${own ? `accounts.${account.accountId}.` : ""}dmPolicy`;
    log.warn(
      `dingtalk: account ${account.accountId}: ${setting} is not set, so everybody in the organisation may write to the robot. Set it to "pairing" to decide about each person, or to "open" to keep it so`,
    );
  }
}
