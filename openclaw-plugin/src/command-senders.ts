import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { readList, sendersIn } from "./allowlist.ts";

/** Who is asked about: a person in a direct conversation who was let in, or somebody in a group. */
export interface CommandQuestion {
  cfg: OpenClawConfig;
  text: string;
  isCommand: boolean;
  isGroup: boolean;
  /** The people whom the account's lists name for this conversation. */
  listed: readonly string[];
}

/** These begin a new conversation and are not the owner's alone. */
const RESET = /^\/(?:new|reset)\b/i;

/**
 * Whose commands OpenClaw obeys: the people in `commands.allowFrom` and nobody else, when there is such a list; else whoever is let in, and
 * in groups whoever is on a list. As soon as there are owners, commands other than `/new` and `/reset` are theirs alone. Asked here,
 * because OpenClaw tells the person that something went wrong when it ignores a command. `"everybody"`: whoever is let in.
 */
export function commandSenders({ cfg, text, isCommand, isGroup, listed }: CommandQuestion): string[] | "everybody" {
  const only = onlyList(cfg);
  if (only) return only;
  const owners = ownersOf(cfg);
  if (isCommand && owners.length > 0 && !RESET.test(text.trim())) return owners;
  return isGroup ? [...owners, ...listed] : "everybody";
}

/** The DingTalk people in `commands.ownerAllowFrom`. `*` makes nobody an owner. */
export function ownersOf(cfg: OpenClawConfig): string[] {
  const entries = readList(cfg.commands?.ownerAllowFrom) ?? [];
  return sendersIn(entries.filter(isMine)).filter((entry) => !/^(?:dingtalk:)?(?:user:)?\*$/i.test(entry));
}

/** An entry without the name of another channel before it. */
const isMine = (entry: string): boolean => !/^(?!dingtalk:|user:)[a-z][a-z0-9_-]*:/i.test(entry);

function onlyList(cfg: OpenClawConfig): string[] | undefined {
  const lists = cfg.commands?.allowFrom;
  return readList(lists?.["dingtalk"] ?? lists?.["*"]);
}
