import type { ChannelPlugin } from "openclaw/plugin-sdk/channel-core";
import { type Account, CHANNEL, DEFAULT_ACCOUNT } from "./accounts.ts";
import { asReport, noCredentials } from "./probe.ts";
import type { Snapshot } from "./status.ts";

type Collect = NonNullable<NonNullable<ChannelPlugin<Account>["status"]>["collectStatusIssues"]>;
type Issue = ReturnType<Collect>[number];

/** What `openclaw channels status`, `openclaw status` and `openclaw doctor` warn of, each with what to do about it. */
export function collectStatusIssues(accounts: Snapshot[]): Issue[] {
  return accounts.filter(({ enabled }) => enabled !== false).flatMap(issuesOf);
}

function issuesOf(account: Snapshot): Issue[] {
  const { accountId } = account;
  if (account.configured === false) {
    const { kind, message, mend } = noCredentials({ accountId });
    return [issue(accountId, kind, message, mend)];
  }
  const problems = asReport(account.probe)?.problems ?? [];
  return [...problems.map(({ kind, message, mend }) => issue(accountId, kind, message, mend)), ...openDoor(account)];
}

/** `*` lets everybody in under any policy but `disabled`. Where a setting stands is not known here: in the account or for all. */
function openDoor({ accountId, dmPolicy, allowFrom }: Snapshot): Issue[] {
  if (dmPolicy === "disabled" || !allowFrom?.includes("*")) return [];
  const everybody = "everybody who can find the robot in DingTalk may talk to the agent";
  const or = (key: string): string =>
    accountId === DEFAULT_ACCOUNT ? "" : `, or channels.${CHANNEL}.accounts.${accountId}.${key} where that is set`;
  if (dmPolicy !== "open") {
    const message = `allowFrom has "*": ${everybody}, dmPolicy "${dmPolicy}" or not`;
    return [issue(accountId, "config", message, `take "*" out of channels.${CHANNEL}.allowFrom${or("allowFrom")}`)];
  }
  const mend = `run "openclaw config set channels.${CHANNEL}.dmPolicy pairing" to decide about each person${or("dmPolicy")}`;
  return [issue(accountId, "config", `dmPolicy is "open": ${everybody}`, mend)];
}

function issue(accountId: string, kind: Issue["kind"], message: string, fix: string | undefined): Issue {
  return { channel: CHANNEL, accountId, kind, message, ...(fix !== undefined && { fix }) };
}
