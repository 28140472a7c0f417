import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { CHANNEL, accountSections, channelSection, resolveAccount } from "./accounts.ts";
import { ownersOf } from "./command-senders.ts";
import { writeSetting } from "./setup-config.ts";
import type { Audience } from "./setup-input.ts";

/** A changed configuration, and what to tell the person about it. */
export interface Prepared {
  cfg: OpenClawConfig;
  lines: string[];
}

export interface AudienceChoice {
  audience: Audience;
  /** A staffId; empty: nobody yet. */
  owner: string;
  restrictTools: boolean;
}

/** Profiles of OpenClaw with which a conversation reaches neither files nor a shell. */
const RESTRICTED_PROFILES: readonly string[] = ["messaging", "minimal"];

/**
 * Writes what suits one person or a team. What somebody has set to something else already is kept, and said.
 */
export function prepareFor(cfg: OpenClawConfig, accountId: string, choice: AudienceChoice): Prepared {
  const steps =
    choice.audience === "me"
      ? [groups(accountId, "allowlist")]
      : [
          isolateSessions,
          answerOneByOne,
          makeOwner(accountId, choice.owner),
          ...(choice.restrictTools ? [restrictTools] : []),
          groups(accountId, choice.restrictTools || hasRestrictedTools(cfg) ? "open" : "allowlist"),
        ];
  const all = [...steps, sayOwner];
  return all.reduce<Prepared>(
    (so, step) => {
      const { cfg: next, lines } = step(so.cfg);
      return { cfg: next, lines: [...so.lines, ...lines] };
    },
    { cfg, lines: [] },
  );
}

export function hasRestrictedTools(cfg: OpenClawConfig): boolean {
  return RESTRICTED_PROFILES.includes(cfg.tools?.profile ?? "");
}

function isolateSessions(cfg: OpenClawConfig): Prepared {
  const scope = cfg.session?.dmScope;
  if (scope !== undefined && scope !== "main") return { cfg, lines: [`session.dmScope stays "${scope}".`] };
  return {
    cfg: { ...cfg, session: { ...cfg.session, dmScope: "per-channel-peer" } },
    lines: ['session.dmScope: "per-channel-peer". Everybody has a conversation of their own.'],
  };
}

/** OpenClaw takes `messages.queue.byChannel` for the channels only that it knows by itself, so this one holds for all. */
function answerOneByOne(cfg: OpenClawConfig): Prepared {
  const mode = cfg.messages?.queue?.mode;
  if (mode === "followup") return { cfg, lines: [] };
  if (mode !== undefined) return { cfg, lines: [`messages.queue.mode stays "${mode}".`] };
  const messages = { ...cfg.messages, queue: { ...cfg.messages?.queue, mode: "followup" as const } };
  return {
    cfg: { ...cfg, messages },
    lines: ['messages.queue.mode: "followup", for all channels. Every message gets an answer of its own.'],
  };
}

/** The owner may write as well, without a code; where everybody may, a list would keep the others out. */
function makeOwner(accountId: string, owner: string) {
  return (cfg: OpenClawConfig): Prepared => {
    if (owner === "") return { cfg, lines: [] };
    const ownerAllowFrom = withEntry(cfg.commands?.ownerAllowFrom, `${CHANNEL}:${owner}`);
    const next = { ...cfg, commands: { ...cfg.commands, ownerAllowFrom } };
    if (resolveAccount(cfg, accountId, {}).allowFrom.includes("*")) return { cfg: next, lines: [] };
    const section = channelSection(cfg);
    const admitted = accountSections(section)[accountId]?.["allowFrom"] ?? section["allowFrom"];
    return { cfg: writeSetting(next, accountId, "allowFrom", withEntry(admitted, owner)), lines: [] };
  };
}

function withEntry(list: unknown, entry: string): string[] {
  const present: unknown[] = Array.isArray(list) ? list : [];
  return [...new Set([...present.map(String), entry])];
}

/** `gateway` is in every profile: it updates OpenClaw, and reads its configuration. */
function restrictTools(cfg: OpenClawConfig): Prepared {
  const tools = {
    ...cfg.tools,
    profile: hasRestrictedTools(cfg) ? cfg.tools?.profile : ("messaging" as const),
    deny: withEntry(cfg.tools?.deny, "gateway"),
    elevated: { ...cfg.tools?.elevated, enabled: false },
  };
  return {
    cfg: { ...cfg, tools } as OpenClawConfig,
    lines: [
      `tools.profile: "${tools.profile}", tools.deny: "gateway", tools.elevated.enabled: false, for all channels. No files, no shell, no settings.`,
    ],
  };
}

function groups(accountId: string, policy: "open" | "allowlist") {
  return (cfg: OpenClawConfig): Prepared => {
    const section = channelSection(cfg);
    const present = accountSections(section)[accountId]?.["groupPolicy"] ?? section["groupPolicy"];
    if (present !== undefined) return { cfg, lines: [`groupPolicy stays "${String(present)}".`] };
    const meaning =
      policy === "open"
        ? "The robot answers in every group that it is added to, when it is @-ed."
        : "The robot answers in no group until you put its conversation id, or people's ids, into groupAllowFrom.";
    return {
      cfg: writeSetting(cfg, accountId, "groupPolicy", policy),
      lines: [`groupPolicy: "${policy}". ${meaning}`],
    };
  };
}

function sayOwner(cfg: OpenClawConfig): Prepared {
  const owners = ownersOf(cfg);
  if (owners.length > 0) {
    return {
      cfg,
      lines: [
        `Owner: ${owners.join(", ")}. Commands are theirs; the others may start their own conversation anew (/new, /reset).`,
      ],
    };
  }
  const next =
    (cfg.commands?.ownerAllowFrom ?? []).length === 0
      ? "the first person that you approve at the command line becomes it (openclaw pairing approve dingtalk <CODE>)"
      : `put "${CHANNEL}:<staffId>" into commands.ownerAllowFrom; until then everybody whom you admit may use commands`;
  return { cfg, lines: [`Nobody in DingTalk is owner yet: ${next}.`] };
}
