import type { Config } from "./config.ts";
import type { Account } from "./domain/account.ts";
import { DingtalkDesk } from "./flows/doctor-dingtalk.ts";

/**
 * Asks DingTalk for an access token with the account's credentials. Throws BridgeError `dingtalk_bad_credentials` when DingTalk
 * refuses them; anything else (`dingtalk_unreachable`, `dingtalk_ip_not_allowed`, …) says nothing about them.
 */
export async function verifyCredentials(
  config: Config,
  account: Account,
  { version, signal }: { version: string; signal: AbortSignal },
): Promise<void> {
  const desk = new DingtalkDesk({ ...config.dingtalk, proxy: config.proxy, version });
  try {
    await desk.account(account).token(signal);
  } finally {
    await desk.close();
  }
}
