import type { ChannelPlugin, OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import {
  type Account,
  CHANNEL,
  DEFAULT_BRIDGE_URL,
  MAIN_ACCOUNT,
  defaultAccountId,
  isConfigured,
  listAccountIds,
  resolveAccount,
} from "./accounts.ts";
import { ownersOf } from "./command-senders.ts";
import { type Prepared, hasRestrictedTools, prepareFor } from "./setup-audience.ts";
import { checkBridge, lastWords } from "./setup-check.ts";
import { setupAccountId, writeAccount, writeSetting } from "./setup-config.ts";
import type { SetupOptions } from "./setup-flags.ts";
import {
  type Audience,
  type SetupInput,
  accountIdProblem,
  appKeyProblem,
  appSecretProblem,
  bridgeTokenProblem,
  bridgeUrlProblem,
  ownerProblem,
} from "./setup-input.ts";

type Wizard = Extract<NonNullable<ChannelPlugin["setupWizard"]>, { configure: unknown }>;
type Prompter = Parameters<Wizard["configure"]>[0]["prompter"];

const NEW_ACCOUNT = "+";
const REMOVE = "-";

const WHERE_TO_LOOK = [
  "App Key and App Secret are on https://open-dev.dingtalk.com :",
  "1. 应用开发 > 企业内部应用 > 创建应用",
  "2. 添加应用能力 > 机器人, 消息接收模式: Stream 模式",
  "3. 权限管理: Card.Streaming.Write, Card.Instance.Write, qyapi_robot_sendmsg",
  "4. 版本管理与发布 > 创建新版本 > 发布 (可见范围: who may find the robot)",
  "5. 凭证与基础信息: Client ID is the App Key, Client Secret the App Secret",
];

/** What `openclaw onboard` and `openclaw channels add` ask. */
export function createSetupWizard({ env, userAgent }: SetupOptions): Wizard {
  const read = (cfg: OpenClawConfig, id?: string): Account =>
    resolveAccount(cfg, id ?? defaultAccountId(cfg, env), env);
  return {
    channel: CHANNEL,
    getStatus: async ({ cfg }) => {
      const configured = listAccountIds(cfg, env).some((id) => isConfigured(read(cfg, id)));
      return {
        channel: CHANNEL,
        configured,
        statusLines: [`DingTalk: ${configured ? "configured" : "needs App Key and App Secret"}`],
        selectionHint: configured ? "configured" : "needs App Key and App Secret",
      };
    },
    configure: async ({ cfg, prompter, accountOverrides, shouldPromptAccountIds }) => {
      const known = listAccountIds(cfg, env).filter((id) => isConfigured(read(cfg, id)));
      const accountId =
        shouldPromptAccountIds && !accountOverrides[CHANNEL] && known.length > 0
          ? await askAccount(prompter, known)
          : setupAccountId(cfg, accountOverrides[CHANNEL]);
      const before = read(cfg, accountId);
      const isNew = !known.includes(accountId);
      if (isNew) await prompter.note(WHERE_TO_LOOK.join("\n"), "DingTalk robot");
      const said = { ...(await askCredentials(prompter, before, accountId)), ...(await askBridge(prompter, before)) };
      const { dropToken, ...input } = said;
      const account = writeAccount(cfg, accountId, input);
      const cleared = dropToken ? writeSetting(account, accountId, "bridgeToken", undefined) : account;
      const { cfg: next, lines } = await askAudience(prompter, cleared, accountId);
      const policy = read(next, accountId).dmPolicy;
      await prompter.note([...lines, POLICIES[policy]].join("\n"), "DingTalk: who may do what");
      return { cfg: next, accountId };
    },
    afterConfigWritten: async ({ cfg, accountId, runtime }) => {
      const account = read(cfg, accountId);
      runtime.log(lastWords(cfg, account, await checkBridge(account, userAgent)).join("\n"));
    },
    dmPolicy: {
      label: "DingTalk",
      channel: CHANNEL,
      policyKey: `channels.${CHANNEL}.dmPolicy`,
      allowFromKey: `channels.${CHANNEL}.allowFrom`,
      getCurrent: (cfg, accountId) => read(cfg, accountId).dmPolicy,
      setPolicy: (cfg, policy, accountId) => writeSetting(cfg, read(cfg, accountId).accountId, "dmPolicy", policy),
      promptAllowFrom: async ({ cfg, prompter, accountId }) => {
        const account = read(cfg, accountId);
        const ids = await prompter.text({
          message: "DingTalk user ids (staffId) that may write, separated by commas",
          initialValue: account.allowFrom.filter((id) => id !== "*").join(", "),
        });
        return writeSetting(cfg, account.accountId, "allowFrom", ids.split(/[\s,;，；]+/).filter(Boolean));
      },
    },
    disable: (cfg) => ({
      ...cfg,
      channels: { ...cfg.channels, [CHANNEL]: { ...cfg.channels?.[CHANNEL], enabled: false } },
    }),
  };
}

const POLICIES: Record<Account["dmPolicy"], string> = {
  pairing:
    'dmPolicy: "pairing". Who writes for the first time gets a code; openclaw pairing approve dingtalk <CODE> lets them in.',
  allowlist: 'dmPolicy: "allowlist". Only the people in allowFrom may write.',
  open: 'dmPolicy: "open". Everybody in your organisation may write. With "pairing" you decide about each person.',
  disabled: 'dmPolicy: "disabled". Nobody may write directly.',
};

async function askAccount(prompter: Prompter, known: string[]): Promise<string> {
  const options = [...known.map((id) => ({ value: id, label: id })), { value: NEW_ACCOUNT, label: "another robot" }];
  const chosen = await prompter.select({ message: "DingTalk account", options, initialValue: known[0] ?? NEW_ACCOUNT });
  if (chosen !== NEW_ACCOUNT) return chosen;
  const taken = (id: string): string | undefined =>
    known.includes(id) || id === MAIN_ACCOUNT ? `There is an account ${id} already.` : undefined;
  const id = await prompter.text({
    message: "Name of the new account",
    placeholder: "second",
    validate: (value) => accountIdProblem(value.trim()) ?? taken(value.trim()),
  });
  return id.trim();
}

/** OpenClaw before 2026.8 gives nothing at all when nothing was typed. */
async function askSecret(prompter: Prompter, question: Parameters<Prompter["text"]>[0]): Promise<string> {
  const typed = (await prompter.text({ ...question, sensitive: true })) as string | undefined;
  return typed ?? "";
}

async function askCredentials(prompter: Prompter, before: Account, accountId: string): Promise<SetupInput> {
  const { appKey, appSecret, fromEnvironment } = before;
  if (fromEnvironment && isConfigured(before)) {
    const useEnv = await prompter.confirm({
      message:
        "DINGTALK_APP_KEY and DINGTALK_APP_SECRET are set. Use them? (The gateway and the bridge need them too.)",
      initialValue: true,
    });
    if (useEnv) return { useEnv };
  }
  const written = fromEnvironment ? { appKey: "", appSecret: "" } : { appKey, appSecret };
  const key = await prompter.text({
    message: "App Key (Client ID)",
    placeholder: "dingxxxxxxxxxxxxxxxx",
    ...(written.appKey && { initialValue: written.appKey }),
    validate: appKeyProblem,
  });
  const secret = await askSecret(prompter, {
    message: written.appSecret
      ? `App Secret (Client Secret) of ${accountId}, empty keeps it`
      : "App Secret (Client Secret)",
    validate: (value) => (value.trim() === "" && written.appSecret ? undefined : appSecretProblem(value)),
  });
  // What did not change stays as it is written, "${NAME}" too.
  return {
    ...(key.trim() !== written.appKey && { appKey: key.trim() }),
    ...(secret.trim() && { appSecret: secret.trim() }),
  };
}

async function askBridge(prompter: Prompter, before: Account): Promise<SetupInput & { dropToken?: boolean }> {
  const url = await prompter.text({
    message: "Address of dingtalk-bridge",
    initialValue: before.bridgeUrl,
    placeholder: DEFAULT_BRIDGE_URL,
    validate: bridgeUrlProblem,
  });
  const token = await askSecret(prompter, {
    message: before.hasBridgeToken
      ? `Bridge token, empty keeps it, ${REMOVE} removes it`
      : "Bridge token (BRIDGE_TOKEN there), empty: both sides derive it from the App Secret",
    validate: (value) => (value.trim() === REMOVE ? undefined : bridgeTokenProblem(value)),
  });
  const address = url.trim().replace(/\/+$/, "");
  return {
    ...(address !== "" && address !== before.bridgeUrl && { bridgeUrl: address }),
    ...(token.trim() === REMOVE ? { dropToken: true } : token.trim() && { bridgeToken: token.trim() }),
  };
}

async function askAudience(prompter: Prompter, cfg: OpenClawConfig, accountId: string): Promise<Prepared> {
  const audience = await prompter.select<Audience>({
    message: "Who is going to write to the robot?",
    options: [
      { value: "me", label: "Only me" },
      { value: "team", label: "My team", hint: "conversations apart, one answer per message, commands for the owner" },
    ],
    initialValue: isTeam(cfg) ? "team" : "me",
  });
  if (audience === "me") return prepareFor(cfg, accountId, { audience, owner: "", restrictTools: false });
  const owner =
    ownersOf(cfg).length > 0
      ? ""
      : await prompter.text({
          message: "Your own DingTalk user id (staffId), which makes you the owner; empty: later",
          placeholder: "staff001",
          validate: ownerProblem,
        });
  const restrictTools =
    !hasRestrictedTools(cfg) &&
    (await prompter.confirm({
      message:
        "Restrict the agent's tools, for all channels? (messages and sessions, but no files, no shell, no settings)",
      initialValue: true,
    }));
  return prepareFor(cfg, accountId, { audience, owner: owner.trim(), restrictTools });
}

function isTeam(cfg: OpenClawConfig): boolean {
  return cfg.session?.dmScope !== undefined && cfg.session.dmScope !== "main";
}
