import type { MediaPart } from "../domain/envelope.ts";
import type { Draft } from "./draft.ts";
import { idOf, listOf, objectOf, stringOf, type JsonObject } from "./json.ts";
import { codeOf, readMedia } from "./media-content.ts";

const MEDIA_TYPES: ReadonlyMap<string, MediaPart["type"]> = new Map([
  ["picture", "image"],
  ["image", "image"],
  ["audio", "audio"],
  ["video", "video"],
]);

/** Every place where the elements have been seen, the legacy `richTextList` included (dingtalk-protocol.md §2.5). */
function elementsOf(richText: unknown, content: unknown): readonly unknown[] | undefined {
  const inner = objectOf(content);
  for (const holder of [inner?.richText, richText]) {
    const elements = listOf(holder) ?? listOf(objectOf(holder)?.richTextList);
    if (elements !== undefined) return elements;
  }
  return listOf(inner?.richTextList) ?? listOf(content);
}

/** The words of an element, blank ones included: a line break is an element whose text is "\n". */
function elementWords(element: JsonObject): string | undefined {
  const words = [element.text, element.content].find((value) => typeof value === "string" && value !== "");
  return typeof words === "string" ? words.toWellFormed() : undefined;
}

const after = (sign: string, name: string): string => (name.startsWith(sign) ? name : sign + name);

function mentionIn(element: JsonObject, type: string): { words: string; id: string | undefined } | undefined {
  const named = stringOf(element.atName);
  if (type !== "at" && named === undefined) return undefined;
  const name = named ?? stringOf(element.name, elementWords(element));
  return {
    words: name === undefined ? "@" : after("@", name),
    id: idOf(element.atUserId, element.userId, element.dingtalkId),
  };
}

/** A slash command that the sender picked from the robot's list. */
function skillIn(element: JsonObject): string {
  const skill = objectOf(element.skillData);
  return after("/", stringOf(skill?.displayName, skill?.name, elementWords(element), skill?.skillId) ?? "skill");
}

function readElement(element: JsonObject, draft: Draft): void {
  const type = (stringOf(element.type, element.msgType, element.msgtype) ?? "").toLowerCase();
  const words = elementWords(element);
  const media = MEDIA_TYPES.get(type);
  if (media !== undefined) readMedia(media, element, draft);
  else if (codeOf(element) !== undefined) {
    if (words !== undefined) draft.say(words);
    readMedia(type === "" ? "image" : "file", element, draft);
  } else if (type === "emoji") draft.say(words ?? stringOf(element.name, element.emojiName) ?? "[emoji]");
  else if (words !== undefined) draft.say(words);
  else if (type !== "" && type !== "text") draft.say(`[${type.slice(0, 64).toWellFormed()}]`);
}

/**
 * Reads the elements of a rich text, live (`type` + `text`) or quoted (`msgType` + `content`), in order. False when there
 * are none. Mentions are collected in `draft.mentions`.
 */
export function readRichText(richText: unknown, content: unknown, draft: Draft): boolean {
  const before = draft.writes;
  const elements = elementsOf(richText, content) ?? [];
  // A mention or a command is an element without the space that the client shows after it.
  let spaceDue = false;
  for (const item of elements) {
    const element = objectOf(item) ?? { text: item };
    const type = (stringOf(element.type, element.msgType, element.msgtype) ?? "").toLowerCase();
    const mention = mentionIn(element, type);
    const command = type === "skill" ? skillIn(element) : undefined;
    const words = mention?.words ?? command ?? elementWords(element);
    if (spaceDue && words !== undefined && words.trimStart() === words) draft.say(" ");
    spaceDue = mention !== undefined || command !== undefined;
    if (mention !== undefined) draft.mention(mention.words, mention.id);
    else if (command !== undefined) draft.say(command);
    else readElement(element, draft);
  }
  return draft.writes > before;
}
