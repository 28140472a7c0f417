import type { ChannelPlugin, OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { type Environment, MAIN_ACCOUNT, isConfigured, resolveAccount } from "./accounts.ts";
import { prepareFor } from "./setup-audience.ts";
import { checkBridge, lastWords } from "./setup-check.ts";
import { setupAccountId, writeAccount } from "./setup-config.ts";
import { type SetupInput, accountIdProblem, problemOf, readSetupInput } from "./setup-input.ts";

type Setup = NonNullable<ChannelPlugin["setup"]>;

export interface SetupOptions {
  env: Environment;
  userAgent: string;
}

/**
 * `openclaw channels add --channel dingtalk --app-key … --app-secret …`. The flags stand in package.json, under
 * `openclaw.channel.setup.fields`.
 */
export function createSetup({ env, userAgent }: SetupOptions): Setup {
  return {
    resolveAccountId: ({ cfg, accountId }) => setupAccountId(cfg, accountId),
    // OpenClaw would move what stands directly under channels.dingtalk into accounts.default when a second account comes.
    configPromotion: "preserve-root",
    singleAccountKeysToMove: [],
    applyAccountName: ({ cfg, accountId, name }) =>
      name?.trim() ? writeAccount(cfg, setupAccountId(cfg, accountId), { botName: name.trim() }) : cfg,
    validateInput: ({ cfg, accountId, input }) => {
      const said = readSetupInput(input);
      const id = setupAccountId(cfg, accountId);
      return accountIdProblem(id) ?? problemOf(said) ?? missing(written(cfg, id, said), id, env) ?? null;
    },
    applyAccountConfig: ({ cfg, accountId, input }) =>
      written(cfg, setupAccountId(cfg, accountId), readSetupInput(input)),
    afterAccountConfigWritten: async ({ cfg, accountId, runtime }) => {
      const account = resolveAccount(cfg, accountId, env);
      runtime.log(lastWords(cfg, account, await checkBridge(account, userAgent)).join("\n"));
    },
  };
}

function written(cfg: OpenClawConfig, accountId: string, said: SetupInput): OpenClawConfig {
  const next = writeAccount(cfg, accountId, said);
  const { audience, owner = "", restrictTools = false } = said;
  return audience ? prepareFor(next, accountId, { audience, owner, restrictTools }).cfg : next;
}

function missing(cfg: OpenClawConfig, accountId: string, env: Environment): string | undefined {
  const account = resolveAccount(cfg, accountId, env);
  if (isConfigured(account)) return undefined;
  if (account.credentialsProblem) return `channels.dingtalk: ${account.credentialsProblem}`;
  const fields = [account.appKey ? "" : "--app-key", account.appSecret ? "" : "--app-secret"].filter(Boolean);
  // The environment's are the main account's.
  const orElse =
    account.bridgeAccount === MAIN_ACCOUNT ? " Or set DINGTALK_APP_KEY and DINGTALK_APP_SECRET and use --use-env." : "";
  return `Account ${accountId} has no ${fields.join(" and no ")}: both are on open-dev.dingtalk.com > your app > 凭证与基础信息.${orElse}`;
}
