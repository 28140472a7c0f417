import type { Account } from "../domain/account.ts";
import type { PushFrame } from "../dingtalk/frame.ts";
import { mediaReferences } from "../dingtalk/normalise.ts";
import type { Push } from "../dingtalk/push.ts";
import type { Logger } from "../ops/logger.ts";
import type { NewFetch } from "../queue/media-store.ts";
import type { Appended, Conversation, NewEntry } from "../queue/store.ts";

/** Files of one message that are fetched: each costs one of the month's calls. */
const MAX_FILES = 50;

export function conversationOf(account: Account, push: Push, receivedAt: number): Conversation {
  return {
    account: account.name,
    id: push.conversationId,
    kind: push.conversationKind,
    title: push.conversationTitle,
    // In a group the sender is one of many: a staffId belongs to a direct conversation only.
    staffId: push.conversationKind === "direct" ? push.senderStaffId : undefined,
    webhook: push.webhook,
    lastSeen: receivedAt,
  };
}

/** Only the bare word: "stop the machine" is a message like any other. `stopWords` are lower case. */
export function isStopWord({ body }: Push, stopWords: readonly string[]): boolean {
  const { text } = body;
  if (typeof text !== "object" || text === null || !("content" in text)) return false;
  return typeof text.content === "string" && stopWords.includes(text.content.trim().toLowerCase());
}

/** The files to fetch, each once, however often the message shows it. */
export function filesOf(push: Push, frame: PushFrame): NewFetch[] {
  // Reading a message costs as much as all else before the commit, and few have files.
  if (!/downloadcode/i.test(frame.data)) return [];
  const byCode = new Map<string, NewFetch>();
  for (const reference of mediaReferences(push.body)) {
    if (!byCode.has(reference.downloadCode)) byCode.set(reference.downloadCode, reference);
  }
  return [...byCode.values()].slice(0, MAX_FILES);
}

/** The dead letter for a push that can be named but not read. */
export function unreadableEntry(account: Account, frame: PushFrame, receivedAt: number, reason: string): NewEntry {
  return {
    queue: "inbox",
    id: `${account.name}:frame:${frame.messageId}`,
    key: `${account.robotCode}:frame:${frame.messageId}`,
    account: account.name,
    lane: `${account.name}\nunreadable`,
    kind: "unreadable",
    body: { raw: frame.data, topic: frame.topic },
    createdAt: receivedAt,
    dead: { code: "unreadable", detail: reason },
  };
}

/** The line an administrator looks for: who wrote, from where, with the ids that allow-lists take. */
export function logReceived(logger: Logger, entry: NewEntry, push: Push, frame: PushFrame, appended: Appended): void {
  const fields = {
    account: entry.account,
    entryId: entry.id,
    frameId: frame.messageId,
    senderStaffId: push.senderStaffId ?? null,
    senderId: push.senderId,
    senderName: push.senderName,
    conversationId: push.conversationId,
    conversationKind: push.conversationKind,
    conversationTitle: push.conversationTitle,
    msgtype: push.body["msgtype"],
    ...(entry.fetches && { files: entry.fetches.length }),
  };
  if (appended.duplicate) logger.info(fields, "message repeated by DingTalk, already stored");
  else if (entry.dead)
    logger.error({ ...fields, ...entry.dead }, "message withheld by DingTalk: the month's Stream quota is used up");
  else if (entry.cancelled)
    logger.info({ ...fields, ...entry.cancelled }, "message received, stored and not passed on");
  else if (entry.cancels) logger.info({ ...fields, cancelled: appended.cancelled }, "stop word received and stored");
  else logger.info(fields, "message received and stored");
}
