import {
  buildChannelOutboundSessionRoute,
  type ChannelPlugin,
  createChatChannelPlugin,
  type OpenClawConfig,
} from "openclaw/plugin-sdk/channel-core";
import {
  type Account,
  CHANNEL,
  type Environment,
  defaultAccountId,
  isConfigured,
  listAccountIds,
  resolveAccount,
} from "./accounts.ts";
import { senderOf } from "./allowlist.ts";
import { approvalCapability } from "./approvals.ts";
import { describeBridge } from "./bridge-client.ts";
import type { Log } from "./bridge-http.ts";
import { Guard } from "./guard.ts";
import type { Delivery, Hub } from "./hub.ts";
import { runTurns } from "./inbound.ts";
import { Mailbox } from "./mailbox.ts";
import { TARGET_HINT, createOutbound, normalizeTarget } from "./outbound.ts";
import { deleteAccount, setAccountEnabled } from "./setup-config.ts";
import { createSetup } from "./setup-flags.ts";
import { createSetupWizard } from "./setup-wizard.ts";
import { noteSettings } from "./start-notes.ts";

export interface ChannelOptions {
  hub: Hub;
  env: Environment;
  userAgent: string;
  log: Log;
}

type Gateway = NonNullable<ChannelPlugin<Account>["gateway"]>;

/** The channel as OpenClaw sees it. */
export function createChannel(options: ChannelOptions): ChannelPlugin<Account> {
  const { env, userAgent } = options;
  const guard = new Guard(options);
  const account = (cfg: OpenClawConfig, accountId?: string | null): Account => resolveAccount(cfg, accountId, env);
  return createChatChannelPlugin<Account>({
    base: {
      id: CHANNEL,
      meta: {
        id: CHANNEL,
        label: "DingTalk",
        selectionLabel: "DingTalk (dingtalk-bridge)",
        docsPath: "/channels/dingtalk",
        blurb: "DingTalk robots in Stream mode through the dingtalk-bridge daemon.",
        markdownCapable: true,
      },
      capabilities: { chatTypes: ["direct", "group"], media: true },
      setup: createSetup({ env, userAgent }),
      setupWizard: createSetupWizard({ env, userAgent }),
      reload: { configPrefixes: [`channels.${CHANNEL}`] },
      config: {
        listAccountIds: (cfg) => listAccountIds(cfg, env),
        resolveAccount: account,
        defaultAccountId: (cfg) => defaultAccountId(cfg, env),
        setAccountEnabled: ({ cfg, accountId, enabled }) => setAccountEnabled(cfg, accountId, enabled),
        deleteAccount: ({ cfg, accountId }) => deleteAccount(cfg, accountId),
        inspectAccount: (cfg, accountId) => snapshot(account(cfg, accountId)),
        isEnabled: (one) => one.enabled,
        isConfigured,
        unconfiguredReason: (one) =>
          one.credentialsProblem ??
          `set appKey and appSecret in channels.${CHANNEL}, or DINGTALK_APP_KEY and DINGTALK_APP_SECRET`,
        describeAccount: snapshot,
        resolveAllowFrom: ({ cfg, accountId }) => account(cfg, accountId).allowFrom,
        formatAllowFrom: guard.formatAllowFrom,
        hasConfiguredState: ({ cfg }) => listAccountIds(cfg, env).some((id) => isConfigured(account(cfg, id))),
      },
      messaging: {
        targetPrefixes: [CHANNEL],
        targetIdComparison: "case-sensitive",
        directTargetStyle: "user-prefixed",
        normalizeTarget,
        inferTargetChatType: ({ to }) => (normalizeTarget(to)?.startsWith("user:") ? "direct" : "group"),
        targetResolver: { looksLikeId: (raw) => normalizeTarget(raw) !== undefined, hint: TARGET_HINT },
        resolveOutboundSessionRoute: ({ cfg, agentId, accountId, target }) => {
          const to = normalizeTarget(target);
          if (to === undefined) return null;
          const kind = to.startsWith("user:") ? "direct" : "group";
          const peer = { kind, id: to.slice(to.indexOf(":") + 1) } as const;
          return buildChannelOutboundSessionRoute({
            cfg,
            agentId,
            channel: CHANNEL,
            accountId: accountId ?? null,
            peer,
            chatType: kind,
            from: `${CHANNEL}:${to}`,
            to,
          });
        },
      },
      gateway: { startAccount: startAccount(options, guard) },
      groups: { resolveRequireMention: guard.resolveRequireMention },
      status: { collectStatusIssues: guard.statusIssues },
      approvalCapability,
    },
    security: {
      dm: {
        channelKey: CHANNEL,
        resolvePolicy: (one) => one.dmPolicy,
        resolveAllowFrom: (one) => one.allowFrom,
        defaultPolicy: "open",
        policyPathSuffix: "dmPolicy",
        normalizeEntry: (entry) => senderOf(entry) ?? "",
      },
      collectWarnings: guard.collectWarnings,
    },
    pairing: { idLabel: "DingTalk user id", notifyApproval: guard.notifyApproval },
    // The answer to a message that had to wait comes through the outbound adapter: it must say what it answers, too.
    threading: {
      resolveReplyToMode: () => "all",
      resolveReplyTransport: ({ replyToId, currentMessageId }) => ({
        replyToId: replyToId ?? currentMessageId ?? null,
      }),
    },
    outbound: createOutbound({
      ...options,
      runtime: () => options.hub.runtime,
      answering: (envelopeId) => options.hub.sessions.answering(envelopeId),
    }),
  });
}

/** Runs an account until OpenClaw stops it. */
function startAccount(
  { hub, env, userAgent, log }: ChannelOptions,
  guard: Guard,
): NonNullable<Gateway["startAccount"]> {
  return async ({ cfg, accountId, account, abortSignal, setStatus }) => {
    const runtime = hub.runtime;
    if (!runtime) throw new Error("dingtalk: OpenClaw has not given the plugin its runtime");
    noteSettings(log, cfg, account, env);
    guard.notes.say(cfg, account);
    const mailbox = new Mailbox<Delivery>();
    const stop = (): void => hub.close(accountId, mailbox);
    abortSignal.addEventListener("abort", stop, { once: true });
    try {
      hub.open(accountId, mailbox);
      if (abortSignal.aborted) stop();
      const approvals = guard.watchApprovals(() => hub.config(), accountId, abortSignal);
      const turns = runTurns(
        { hub, runtime, config: () => hub.config(), accountId, env, userAgent, log, guard },
        mailbox,
        abortSignal,
      );
      setStatus({
        ...snapshot(account),
        running: true,
        connected: true,
        lifecycle: "ready",
        lastError: null,
      });
      guard.started(accountId, setStatus);
      await announce({ account, userAgent, log, signal: abortSignal });
      await turns;
      await approvals;
    } finally {
      guard.ended(accountId);
      abortSignal.removeEventListener("abort", stop);
      stop();
      setStatus({ ...snapshot(account), running: false, connected: false, lifecycle: "stopped" });
    }
  };
}

/** One line that says whether the bridge is there. Messages wait there when it is not, so the channel starts anyway. */
async function announce({
  account,
  userAgent,
  log,
  signal,
}: {
  account: Account;
  userAgent: string;
  log: Log;
  signal: AbortSignal;
}): Promise<void> {
  try {
    const bridge = await describeBridge(account, userAgent, signal);
    log[bridge.ok ? "info" : "warn"](`dingtalk: account ${account.accountId}: ${bridge.text}`);
  } catch {
    // Stopped while asking.
  }
}

function snapshot(account: Account) {
  return {
    accountId: account.accountId,
    enabled: account.enabled,
    configured: isConfigured(account),
    tokenStatus: isConfigured(account) ? "available" : "missing",
    dmPolicy: account.dmPolicy,
    allowFrom: account.allowFrom,
    baseUrl: account.bridgeUrl,
    ...(account.name !== undefined && { name: account.name }),
  };
}
