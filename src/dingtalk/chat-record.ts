import { Draft } from "./draft.ts";
import { listOf, objectOf, stringOf, type JsonObject } from "./json.ts";
import type { Fields } from "./words.ts";

type EntryReader = (kind: string, fields: Fields, draft: Draft) => void;

/** What an entry stands for where it has no words: the words that DingTalk's own summary uses. */
const PLACEHOLDERS = { image: "[图片]", audio: "[语音]", video: "[视频]", file: "[文件]" } as const;

function readEntry(item: unknown, read: EntryReader): { line: string; words: string; draft: Draft } {
  const draft = new Draft();
  const entry = objectOf(item) ?? { content: item };
  const kind = stringOf(entry.msgType, entry.msgtype, entry.type) ?? "";
  read(kind, { content: entry.content ?? entry.message, text: entry.text, richText: entry.richText }, draft);
  const files = draft.parts.flatMap((part) => (part.type === "text" ? [] : [PLACEHOLDERS[part.type]]));
  const words = draft.text === "" ? files.join("") : draft.text;
  const name = stringOf(entry.senderName, entry.senderNick, entry.name);
  return { line: name === undefined || words === "" ? words : `${name}: ${words}`, words, draft };
}

/** The lines of the summary: plain text, or a JSON array of lines. */
function summaryOf(content: JsonObject, read: EntryReader): string[] {
  const lines = listOf(content.summary)?.map((item) =>
    typeof item === "string" ? item.toWellFormed() : readEntry(item, read).line,
  );
  return (lines ?? (stringOf(content.summary) ?? "").split("\n")).filter((line) => line.trim() !== "");
}

/** A summary line without the "name:" in front. */
function saying(line: string): string {
  const colon = line.search(/[:：]/);
  return line.slice(colon + 1).trim();
}

/**
 * A merged forward (dingtalk-protocol.md §2.9): the title, the summary, then every entry that the summary does not
 * already show. The summary has the names and the order, the entries have the full texts, and neither is complete: of 9
 * forwarded messages 3 or 4 arrive.
 */
export function readChatRecord(content: JsonObject, draft: Draft, read: EntryReader): void {
  const title = stringOf(content.title);
  if (title !== undefined) draft.line(title);
  const summary = summaryOf(content, read);
  for (const line of summary) draft.line(line);
  const shown = new Set(summary.map(saying));
  const records = listOf(content.chatRecord) ?? listOf(content.records) ?? listOf(content.messages) ?? [];
  for (const item of records) {
    const entry = readEntry(item, read);
    if (entry.words !== "" && !shown.has(entry.words)) draft.line(entry.line);
    draft.adoptFiles(entry.draft);
  }
}
