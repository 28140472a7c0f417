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
import type { Log } from "./bridge-http.ts";
import { Guard } from "./guard.ts";
import type { Delivery, Hub } from "./hub.ts";
import { runTurns } from "./inbound.ts";
import { Mailbox } from "./mailbox.ts";
import { createOutbound } from "./outbound.ts";
import { type BridgeReport, describeProbe, probeBridge } from "./probe.ts";
import { deleteAccount, setAccountEnabled } from "./setup-config.ts";
import { createSetup } from "./setup-flags.ts";
import { createSetupWizard } from "./setup-wizard.ts";
import { noteSettings } from "./start-notes.ts";
import { BridgeWatch, buildAccountSnapshot, inspected, snapshotOf } from "./status.ts";
import { TARGET_HINT, isDirect, looksLikeTarget, normalizeTarget, targetOfSession } from "./targets.ts";
import { collectStatusIssues } from "./warnings.ts";

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
  const watches = new Map<string, BridgeWatch>();
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
        // A session's key has the id in lower case; the session itself knows where it was spoken.
        preferSessionLookupForAnnounceTarget: true,
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
        inspectAccount: (cfg, accountId) => inspected(account(cfg, accountId)),
        isEnabled: (one) => one.enabled,
        isConfigured,
        unconfiguredReason: (one) =>
          one.credentialsProblem ??
          `set appKey and appSecret in channels.${CHANNEL}, or DINGTALK_APP_KEY and DINGTALK_APP_SECRET`,
        describeAccount: snapshotOf,
        resolveAllowFrom: ({ cfg, accountId }) => account(cfg, accountId).allowFrom,
        formatAllowFrom: guard.formatAllowFrom,
        hasConfiguredState: ({ cfg }) => listAccountIds(cfg, env).some((id) => isConfigured(account(cfg, id))),
      },
      messaging: {
        targetPrefixes: [CHANNEL],
        targetIdComparison: "case-sensitive",
        directTargetStyle: "user-prefixed",
        normalizeTarget,
        inferTargetChatType: ({ to }) => (isDirect(to) ? "direct" : "group"),
        targetResolver: { looksLikeId: looksLikeTarget, hint: TARGET_HINT },
        resolveSessionTarget: ({ id }) => targetOfSession(id),
        resolveOutboundSessionRoute: ({ cfg, agentId, accountId, target }) => {
          const to = normalizeTarget(target);
          if (to === undefined) return null;
          const kind = isDirect(to) ? "direct" : "group";
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
      gateway: { startAccount: startAccount(options, guard, watches) },
      groups: { resolveRequireMention: guard.resolveRequireMention },
      status: {
        // In the gateway the running account looks, so that its status and its log know, too.
        probeAccount: async ({ account: one, timeoutMs }): Promise<BridgeReport> =>
          (await watches.get(one.accountId)?.check()) ?? (await probeBridge({ account: one, userAgent, timeoutMs })),
        formatCapabilitiesProbe: ({ probe }) => describeProbe(probe),
        buildAccountSnapshot,
        collectStatusIssues: (accounts) => [...collectStatusIssues(accounts), ...guard.statusIssues(accounts)],
      },
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
      ...guard.security,
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
      traffic: (accountId) => watches.get(accountId),
    }),
  });
}

/** Runs an account until OpenClaw stops it. Messages wait in the bridge when it is away, so the channel starts anyway. */
function startAccount(
  { hub, env, userAgent, log }: ChannelOptions,
  guard: Guard,
  watches: Map<string, BridgeWatch>,
): NonNullable<Gateway["startAccount"]> {
  return async ({ cfg, accountId, account, abortSignal, setStatus }) => {
    const runtime = hub.runtime;
    if (!runtime) throw new Error("dingtalk: OpenClaw has not given the plugin its runtime");
    noteSettings(log, cfg, account, env);
    guard.notes.say(cfg, account);
    const mailbox = new Mailbox<Delivery>();
    const stop = (): void => hub.close(accountId, mailbox);
    abortSignal.addEventListener("abort", stop, { once: true });
    const ended = new AbortController();
    const signal = AbortSignal.any([abortSignal, ended.signal]);
    const probe = () => probeBridge({ account, userAgent, signal });
    const watch = new BridgeWatch({ account, probe, setStatus, log, signal });
    watches.set(accountId, watch);
    setStatus({ ...snapshotOf(account), running: true, lifecycle: "ready", lastError: null });
    const watching = watch.run();
    try {
      hub.open(accountId, mailbox);
      if (abortSignal.aborted) stop();
      const approvals = guard.watchApprovals(() => hub.config(), accountId, abortSignal);
      guard.started(accountId, setStatus);
      const { lanes } = hub;
      await runTurns(
        { hub, runtime, lanes, config: () => hub.config(), accountId, env, userAgent, log, guard, traffic: watch },
        mailbox,
        abortSignal,
      );
      await approvals;
    } finally {
      guard.ended(accountId);
      ended.abort();
      await watching;
      if (watches.get(accountId) === watch) watches.delete(accountId);
      abortSignal.removeEventListener("abort", stop);
      stop();
      setStatus({ ...snapshotOf(account), running: false, connected: false, lifecycle: "stopped" });
    }
  };
}
