import type { MediaPart } from "../domain/envelope.ts";
import { readChatRecord } from "./chat-record.ts";
import type { Draft } from "./draft.ts";
import { isObject, listOf, objectOf, stringOf, type JsonObject } from "./json.ts";
import { readRichText } from "./rich-text.ts";
import { codeOf, readMedia } from "./media-content.ts";
import { wordsOf, type Fields } from "./words.ts";

/** A merged forward may contain merged forwards; further in than this they are read as plain words. */
const MAX_RECORD_DEPTH = 3;

const MEDIA_KINDS: ReadonlyMap<string, MediaPart["type"]> = new Map([
  ["picture", "image"],
  ["image", "image"],
  ["audio", "audio"],
  ["voice", "audio"],
  ["video", "video"],
  ["file", "file"],
]);

/** Takes whatever can be read out of a body whose type is missing, new or wrong. */
function salvage({ content, text, richText }: Fields, draft: Draft): void {
  if (readRichText(richText, content, draft)) return;
  const fields = objectOf(content);
  const words = wordsOf(text) ?? wordsOf(content) ?? stringOf(fields?.title, fields?.recognition, fields?.name);
  if (words !== undefined) draft.line(words);
  if (fields !== undefined && codeOf(fields) !== undefined) readMedia("file", fields, draft);
}

/** `text.content` or `content.text` (dingtalk-protocol.md §2.9). */
function readMarkdown({ content, text }: Fields, draft: Draft): void {
  const words = wordsOf(text) ?? wordsOf(content) ?? stringOf(objectOf(content)?.title, objectOf(text)?.title);
  if (words !== undefined) draft.say(words);
}

/** A title is left out where the words begin with it. */
function readActionCard(content: JsonObject, draft: Draft): void {
  const title = stringOf(content.title);
  const words = stringOf(content.text, content.markdown);
  if (title !== undefined && words?.startsWith(title) !== true) draft.line(title);
  if (words !== undefined) draft.line(words);
  const buttons = listOf(content.actionUrlItemList) ?? [];
  for (const button of [{ title: content.singleTitle, actionUrl: content.singleUrl }, ...buttons]) {
    const item = objectOf(button);
    const label = [stringOf(item?.title), stringOf(item?.actionUrl, item?.actionURL)].filter((it) => it !== undefined);
    if (label.length > 0) draft.line(label.join(": "));
  }
}

/** The words of a card's element tree, top down. Iterative: the tree is as deep as its author likes. */
function cardWords(tree: unknown): string[] {
  const words: string[] = [];
  const pending: unknown[] = [objectOf(tree) ?? listOf(tree)];
  while (pending.length > 0) {
    const element = pending.pop();
    if (Array.isArray(element)) {
      for (let index = element.length - 1; index >= 0; index -= 1) pending.push(element[index]);
    } else if (isObject(element)) {
      const value = stringOf(element.value, element.text);
      if (value !== undefined) words.push(value);
      pending.push(element.children);
    }
  }
  return words;
}

/** A shared DingTalk document, or a quoted card; often nothing of it can be read (dingtalk-protocol.md §2.8, §2.9). */
function readInteractiveCard(content: JsonObject, draft: Draft): void {
  const title = stringOf(content.title);
  const url = stringOf(content.biz_custom_action_url, content.bizCustomActionUrl);
  for (const words of [title, ...cardWords(content.cardContent), url]) if (words !== undefined) draft.line(words);
}

/**
 * Reads a message body of one type into the draft; dingtalk-protocol.md §2.3 to §2.9. A draft in which nothing
 * was written could not be read. An unknown type is announced, followed by what was found in it. Never throws.
 */
export function readContent(kind: string, fields: Fields, draft: Draft, depth = 0): void {
  const before = draft.writes;
  const content = objectOf(fields.content) ?? {};
  const name = kind.toLowerCase();
  const media = MEDIA_KINDS.get(name);
  if (media !== undefined) {
    readMedia(media, content, draft);
    // No known client sends words beside a file; if one does, they count.
    const words = wordsOf(fields.text) ?? wordsOf(fields.content);
    if (words !== undefined) draft.line(words);
    return;
  }
  switch (name) {
    case "text":
    case "reply": {
      const words = wordsOf(fields.text) ?? wordsOf(fields.content);
      if (words !== undefined) draft.say(words);
      break;
    }
    case "richtext":
      readRichText(fields.richText, fields.content, draft);
      break;
    case "markdown":
      readMarkdown(fields, draft);
      break;
    case "actioncard":
      readActionCard(content, draft);
      break;
    case "interactivecard":
      readInteractiveCard(content, draft);
      break;
    case "chatrecord":
      if (depth < MAX_RECORD_DEPTH) {
        readChatRecord(content, draft, (entryKind, entry, into) => readContent(entryKind, entry, into, depth + 1));
      }
      break;
    case "unknownmsgtype": {
      const words = stringOf(content.unknownMsgType);
      if (words !== undefined) draft.say(words);
      if (codeOf(content) !== undefined) readMedia("file", content, draft);
      break;
    }
    case "":
      break;
    default:
      draft.line(unreadable(kind));
      salvage(fields, draft);
  }
  if (draft.writes === before) salvage(fields, draft);
}

/** What stands in place of a message that could not be read. */
export function unreadable(kind: string): string {
  return `[DingTalk message of type ${JSON.stringify(kind.slice(0, 64).toWellFormed() || "unknown")} that the bridge cannot read]`;
}
