/** One entry of an allow list: a person (or `*`, or `accessGroup:<name>`), or a conversation. */
export interface AllowEntry {
  kind: "sender" | "conversation";
  id: string;
}

const PREFIXES = /^(?:dingtalk:)?(?:(user|conversation|group):)?/i;

/**
 * Reads `staff001`, `user:staff001`, `cid…`, `conversation:cid…` or `group:cid…`, each with or without `dingtalk:` before it. Without a
 * word that says what it is, an id that begins with `cid` is a conversation: DingTalk gives such ids to nothing else. Ids keep their
 * case. Undefined when nothing is left of it.
 */
export function readEntry(entry: string): AllowEntry | undefined {
  const trimmed = entry.trim();
  const [prefix = "", word] = PREFIXES.exec(trimmed) ?? [];
  const id = trimmed.slice(prefix.length).trim();
  if (id === "") return undefined;
  const isConversation = word === undefined ? id.startsWith("cid") : word.toLowerCase() !== "user";
  return { kind: isConversation ? "conversation" : "sender", id };
}

/** The person that an entry means; null for a conversation, which is never one. */
export const senderOf = (entry: string): string | null => idOf(entry, "sender");

/** The conversation that an entry means; null for a person. */
export const conversationOf = (entry: string): string | null => idOf(entry, "conversation");

/** The people of a list, as they are written there. */
export const sendersIn = (entries: readonly string[]): string[] => entries.filter((entry) => senderOf(entry) !== null);

/** Whether a list names this conversation. `*` means people, never conversations. */
export const namesConversation = (entries: readonly string[], conversationId: string): boolean =>
  entries.some((entry) => conversationOf(entry) === conversationId);

/** What both lists allow. */
export function intersect(one: readonly string[], other: readonly string[]): string[] {
  if (other.includes("*")) return [...one];
  if (one.includes("*")) return [...other];
  const ids = new Set(other.map(senderOf));
  return one.filter((entry) => ids.has(senderOf(entry)));
}

/** A list as it is configured; undefined when there is none. What is no list allows nobody. */
export function readList(value: unknown): string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) return [];
  return (value as unknown[]).map((entry) => String(entry).trim()).filter((entry) => entry !== "");
}

function idOf(entry: string, kind: AllowEntry["kind"]): string | null {
  const read = readEntry(entry);
  return read?.kind === kind ? read.id : null;
}
