import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import type { Account } from "./accounts.ts";
import type { Log } from "./bridge-http.ts";

/** Says what an account's settings of groups cannot do, each line once in the life of the process: accounts start again with every change. */
export class GroupNotes {
  readonly #log: Log;
  readonly #said = new Set<string>();

  constructor(log: Log) {
    this.#log = log;
  }

  say(cfg: OpenClawConfig, account: Account): void {
    for (const line of notesOn(cfg, account)) {
      if (this.#said.has(line)) continue;
      this.#said.add(line);
      this.#log.warn(`dingtalk: account ${account.accountId}: ${line}`);
    }
  }
}

/** Settings of groups that have less effect than one may think. */
export function notesOn(cfg: OpenClawConfig, { groups }: Pick<Account, "groups">): string[] {
  const agents = agentIds(cfg);
  return [...groups].flatMap(([id, { requireMention, agent }]) => [
    ...(requireMention === false
      ? [
          `groups.${id}.requireMention is false, but DingTalk sends a robot no group messages other than those that @ it: nothing more can arrive`,
        ]
      : []),
    ...(agent !== undefined && agents !== undefined && !agents.has(agent.toLowerCase())
      ? [`groups.${id}.agent names no agent that is configured, so the default agent answers: ${JSON.stringify(agent)}`]
      : []),
  ]);
}

/** Undefined when none is configured: then OpenClaw has one, whose name the plugin need not know. */
function agentIds(cfg: OpenClawConfig): Set<string> | undefined {
  const agents: Record<string, unknown> = { ...cfg.agents };
  const { entries, list } = agents;
  const ids = [
    ...(typeof entries === "object" && entries !== null ? Object.keys(entries) : []),
    ...(Array.isArray(list) ? (list as unknown[]).map(idOf) : []),
  ];
  return ids.length > 0 ? new Set(ids.map((id) => id.toLowerCase())) : undefined;
}

const idOf = (agent: unknown): string =>
  typeof agent === "object" && agent !== null && "id" in agent ? String(agent.id) : "";
