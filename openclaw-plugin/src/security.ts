import type { ChannelPlugin, OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Account, CHANNEL, type Environment, resolveAccount } from "./accounts.ts";
import { senderOf, sendersIn } from "./allowlist.ts";
import { takesFindings } from "./compat.ts";
import { pairingOf } from "./pairing.ts";
import { ISOLATE, SHARED_SESSION } from "./shared-session.ts";

type Security = NonNullable<ChannelPlugin["security"]>;
type Finding = Exclude<Awaited<ReturnType<NonNullable<Security["collectWarnings"]>>>[number], string>;

type Collectors = "collectWarnings" | "collectAuditFindings";
type Asked = Pick<Parameters<NonNullable<Security["collectWarnings"]>>[0], "cfg" | "accountId">;

export interface SecurityOptions {
  env: Environment;
  runtime: () => PluginRuntime | undefined;
}

/**
 * What `openclaw security audit` and `openclaw doctor` say about an account beyond OpenClaw's own findings. Before 2026.8.1 warnings are plain
 * texts, and anything else ends the command with an error; findings go another way there, which doctor does not ask.
 */
export function securityOf({ env, runtime }: SecurityOptions): Required<Pick<Security, Collectors>> {
  const findings = async ({ cfg, accountId }: Asked): Promise<Finding[]> => {
    const account = resolveAccount(cfg, accountId, env);
    const all = [...openGroups(account), ...deadEntries(account)];
    return (await isSharedByMany(cfg, account, runtime())) ? [...all, sharedSession()] : all;
  };
  return {
    collectWarnings: async (asked) => ((await takesFindings()) ? await findings(asked) : []),
    collectAuditFindings: async (asked) => ((await takesFindings()) ? [] : await findings(asked)),
  };
}

/** Everybody in every group the robot is added to. */
function openGroups(account: Account): Finding[] {
  const { groupPolicy, groups } = account;
  const rules = groups.get("*");
  if (groupPolicy !== "open" || rules?.enabled === false || rules?.allowFrom) return [];
  return [
    {
      checkId: `channels.${CHANNEL}.groups.open`,
      severity: "warn",
      title: "DingTalk groups are open",
      detail: `${pathOf(account)}.groupPolicy="open" lets everybody in every group that the robot is added to ask the agent (by @-ing it).`,
      remediation: `Set ${pathOf(account)}.groupPolicy="allowlist" with staffIds or conversation ids in groupAllowFrom, or restrict the agent's tools.`,
    },
  ];
}

/** Entries that cannot match anybody: a conversation among the people. */
function deadEntries(account: Account): Finding[] {
  const dead = account.allowFrom.filter((entry) => senderOf(entry) === null);
  if (dead.length === 0) return [];
  return [
    {
      checkId: `channels.${CHANNEL}.allowFrom.conversations`,
      severity: "warn",
      title: "DingTalk allowFrom names conversations",
      detail: `${dead.length} of the entries in ${pathOf(account)}.allowFrom are conversation ids; they let nobody in.`,
      remediation: "allowFrom takes staffIds; conversation ids belong into groupAllowFrom.",
    },
  ];
}

/** Whether more than one person may write to one and the same session. */
async function isSharedByMany(
  cfg: OpenClawConfig,
  account: Account,
  runtime: PluginRuntime | undefined,
): Promise<boolean> {
  if (account.dmPolicy === "disabled" || (cfg.session?.dmScope ?? "main") !== "main") return false;
  const people = new Set(sendersIn(account.allowFrom).map(senderOf));
  if (people.has("*")) return true;
  if (account.dmPolicy === "pairing" && runtime) {
    for (const entry of await pairingOf(runtime, account).readAllowFromStore()) people.add(senderOf(entry));
  }
  return people.size > 1;
}

const sharedSession = (): Finding => ({
  checkId: `channels.${CHANNEL}.dm.shared_session`,
  severity: "warn",
  title: "DingTalk direct messages share one session",
  detail: SHARED_SESSION,
  remediation: ISOLATE,
});

const pathOf = ({ accountId }: Account): string =>
  accountId === "default" ? `channels.${CHANNEL}` : `channels.${CHANNEL}.accounts.${accountId}`;
