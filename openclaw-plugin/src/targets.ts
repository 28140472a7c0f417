/** Told wherever a target is missing or wrong. */
export const TARGET_HINT =
  "use user:<staffId> for a person or conversation:<conversationId> for a group; " +
  "both ids stand in the gateway's log with every message from DingTalk (openclaw logs --follow)";

const PREFIX = /^dingtalk:/i;
const KINDS: Readonly<Record<string, "user" | "conversation">> = {
  user: "user",
  direct: "user",
  dm: "user",
  conversation: "conversation",
  group: "conversation",
  channel: "conversation",
};

/**
 * `user:<staffId>` or `conversation:<id>`, as the bridge takes them; undefined for what is no target. Understood as well: `group:`,
 * `channel:`, `direct:`, `dm:`, any of them after `dingtalk:`, and a bare id, which is a conversation when it begins with `cid`. The id's
 * case is kept, because ids differ by it.
 */
export function normalizeTarget(raw: string): string | undefined {
  const target = withoutPrefix(raw);
  const [, word, id] = /^(?:([a-z]+):)?(\S+)$/i.exec(target) ?? [];
  if (!id || id === "*" || isSessionKey(target)) return undefined;
  if (word === undefined)
    return /^[@#<]|:/.test(id) ? undefined : `${id.startsWith("cid") ? "conversation" : "user"}:${id}`;
  const kind = KINDS[word.toLowerCase()];
  return kind && `${kind}:${id}`;
}

/**
 * Whether it can be nothing but an id. A bare word may be somebody's name, and is a staffId only when it has a digit or is preceded by
 * `user:`.
 */
export function looksLikeTarget(raw: string): boolean {
  const target = withoutPrefix(raw);
  if (normalizeTarget(target) === undefined) return false;
  return target.includes(":") || target.startsWith("cid") || /^[\w.@-]*\d[\w.@-]*$/.test(target);
}

/** Why it is no target, and what is one. */
export function targetProblem(raw: string | undefined): string {
  const given = raw?.trim() ?? "";
  if (given === "") return `no target is given: ${TARGET_HINT}`;
  if (isSessionKey(withoutPrefix(given))) {
    return `${JSON.stringify(given)} comes from a session key, where OpenClaw has lower-cased the id, and DingTalk's ids differ by case: ${TARGET_HINT}`;
  }
  return `${JSON.stringify(given)} is no target: ${TARGET_HINT}`;
}

/** What OpenClaw gets when it asks for the target of a group's session: its id is lower-cased there and names nobody. */
export const targetOfSession = (id: string): string => `session:${id}`;

export const isDirect = (target: string): boolean => normalizeTarget(target)?.startsWith("user:") === true;

function withoutPrefix(raw: string): string {
  let target = raw.trim();
  while (PREFIX.test(target)) target = target.replace(PREFIX, "").trim();
  return target;
}

const isSessionKey = (target: string): boolean => /^(?:agent|session):/i.test(target);
