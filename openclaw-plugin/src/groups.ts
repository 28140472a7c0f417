import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { intersect, namesConversation, readList, sendersIn } from "./allowlist.ts";

type Policy = "open" | "allowlist" | "disabled";

/** What is written below `groups.<conversationId | "*">`. */
export interface GroupSettings {
  /** False: the robot is silent in this group. */
  enabled?: boolean;
  /** Absent: true, as in every channel of OpenClaw. */
  requireMention?: boolean;
  /** Who may ask here, instead of the people in `groupAllowFrom`. */
  allowFrom?: string[];
  /** The agent that answers here. */
  agent?: string;
}

/** By conversation id, which keeps its case, or `*`. */
export type Groups = ReadonlyMap<string, GroupSettings>;

/** Whoever decides about groups: an account. */
export interface GroupRules {
  groupPolicy: Policy;
  groupAllowFrom: string[];
  groups: Groups;
}

/** How a group message is judged. */
export interface GroupAdmission {
  enabled: boolean;
  requireMention: boolean;
  /** `open`: everybody in this group may ask. */
  policy: Policy;
  /** Those who may ask under `allowlist`; under `open` those whom a list names. */
  senders: string[];
}

const KEYS = new Set(["enabled", "requireMention", "allowFrom", "agent"]);

/** Reads `groups` of an account or of the top level. */
export function readGroups(value: unknown): Groups {
  return new Map(
    sections(value).map(([key, section]) => {
      const { enabled, requireMention, agent } = section;
      const allowFrom = readList(section["allowFrom"]);
      return [
        groupId(key),
        {
          ...(typeof enabled === "boolean" && { enabled }),
          ...(typeof requireMention === "boolean" && { requireMention }),
          ...(allowFrom && { allowFrom }),
          ...(typeof agent === "string" && agent.trim() !== "" && { agent: agent.trim() }),
        },
      ];
    }),
  );
}

/** Keys below `groups` that nobody reads. */
export function unknownGroupSettings(value: unknown, path = "groups"): string[] {
  return sections(value).flatMap(([key, section]) =>
    Object.keys(section)
      .filter((name) => !KEYS.has(name))
      .map((name) => `${path}.${key}.${name}`),
  );
}

/** The settings of one group: its own, each of them completed by that of `*`. */
export const settingsOf = (groups: Groups, conversationId: string): GroupSettings => ({
  ...groups.get("*"),
  ...groups.get(conversationId),
});

/**
 * Under `allowlist` a group is open to its members when `groupAllowFrom` names its id, or when it has settings of its own and
 * `groupAllowFrom` names no people; the people in `groupAllowFrom` may ask in every group. `allowFrom` of the group narrows all of
 * that to its people, and in a group that nothing admits it admits nobody: `*` sets rules, it opens no door.
 */
export function admitGroup(
  { groupPolicy, groupAllowFrom, groups }: GroupRules,
  conversationId: string,
): GroupAdmission {
  const { enabled = true, requireMention = true, allowFrom } = settingsOf(groups, conversationId);
  const people = sendersIn(groupAllowFrom);
  const rules = (policy: Policy, senders: string[]): GroupAdmission => ({ enabled, requireMention, policy, senders });
  if (groupPolicy === "disabled") return rules("disabled", []);
  const isListed = groupPolicy === "open" || namesConversation(groupAllowFrom, conversationId);
  const isNamed = groups.has(conversationId);
  if (allowFrom) {
    const mine = sendersIn(allowFrom);
    return rules("allowlist", isListed || isNamed ? mine : intersect(mine, people));
  }
  if (isListed || (isNamed && people.length === 0)) return rules("open", people);
  return rules("allowlist", people);
}

/**
 * OpenClaw's configuration as it has to be for this group's route: with the group's `agent` as a binding before all others, so that
 * sessions and missing agents are handled as for any binding.
 */
export function withGroupAgent(
  cfg: OpenClawConfig,
  { accountId, groups }: { accountId: string; groups: Groups },
  conversation: { kind: "direct" | "group"; id: string },
): OpenClawConfig {
  const agent = conversation.kind === "group" ? settingsOf(groups, conversation.id).agent : undefined;
  if (agent === undefined) return cfg;
  const match = { channel: "dingtalk", accountId, peer: { kind: "group" as const, id: conversation.id } };
  // Declared so that exactOptionalPropertyTypes takes all but the other type of binding away.
  const bindings: unknown[] = [{ agentId: agent, match }, ...(cfg.bindings ?? [])];
  return { ...cfg, bindings } as OpenClawConfig;
}

const groupId = (key: string): string => key.trim().replace(/^(?:dingtalk:)?(?:conversation:|group:)?/i, "");

function sections(value: unknown): [string, Record<string, unknown>][] {
  if (!isSection(value)) return [];
  return Object.entries(value).filter((entry): entry is [string, Record<string, unknown>] => isSection(entry[1]));
}

const isSection = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
