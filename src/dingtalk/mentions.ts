import type { Conversation, Mention } from "../domain/envelope.ts";
import type { InlineMention } from "./draft.ts";
import { compact, flagOf, idOf, listOf, objectOf, type JsonObject } from "./json.ts";

/** Encrypted ids begin like this; staffIds never do (dingtalk-protocol.md §0.4). */
const ENCRYPTED = "$:";
/** Longer than any robot's name: what is longer is somebody's text. */
const MAX_NAME = 64;

export interface Mentions {
  /** The robot was mentioned. */
  mentioned: boolean;
  /** Everybody else. */
  others: Mention[];
  /** `atUsers` names the robot, and nobody else is mentioned anywhere. */
  onlyRobot: boolean;
}

function sameOne(mention: Mention, id: string): boolean {
  return mention.staffId === id || mention.dingtalkId === id || mention.unionId === id;
}

/**
 * Who is mentioned: `atUsers` without the robot (`chatbotUserId`), then the mentions of a rich text and of
 * `text.at.atDingtalkIds` that are not among them. Only messages that mention the robot are delivered in groups, so a
 * missing `isInAtList` counts as a mention (dingtalk-protocol.md §2.2).
 */
export function mentionsOf(body: JsonObject, kind: Conversation["kind"], inline: readonly InlineMention[]): Mentions {
  const robot = idOf(body.chatbotUserId);
  const others: Mention[] = [];
  let robotListed = false;
  const known = new Map<string, Mention>();
  const add = (mention: Mention): void => {
    const ids = [mention.staffId, mention.dingtalkId, mention.unionId].filter((id) => id !== undefined);
    if (robot !== undefined && sameOne(mention, robot)) robotListed = true;
    else if (Object.keys(mention).length > 0 && !ids.some((id) => known.has(id))) {
      others.push(mention);
      for (const id of ids) known.set(id, mention);
    }
  };
  for (const item of listOf(body.atUsers) ?? []) {
    const user = objectOf(item);
    if (user === undefined) continue;
    add(compact({ staffId: idOf(user.staffId), dingtalkId: idOf(user.dingtalkId), unionId: idOf(user.unionId) }));
  }
  const at = objectOf(objectOf(body.text)?.at);
  for (const id of listOf(at?.atDingtalkIds) ?? []) add(compact({ dingtalkId: idOf(id) }));
  for (const { id, name } of inline) {
    const listed = id === undefined ? undefined : known.get(id);
    if (listed !== undefined && name !== undefined) listed.name ??= name;
    else if (id === undefined) add(compact({ name }));
    else add(compact({ [id.startsWith(ENCRYPTED) ? "dingtalkId" : "staffId"]: id, name }));
  }
  return {
    mentioned: kind === "direct" || (flagOf(body.isInAtList) ?? true),
    others,
    onlyRobot: robotListed && others.length === 0,
  };
}

/**
 * The reading text without the robot's mention at its front, where one is left. Most clients take it out themselves;
 * HarmonyOS repeats it in a rich text (dingtalk-protocol.md §2.5). With the robot's name known exactly that mention goes.
 * Without it only the one word "@…" that opens a rich text in which nobody but the robot is mentioned: anything else may
 * be somebody's words. The parts keep it in any case.
 */
export function withoutOwnMention(
  text: string,
  about: { robotName: string | undefined; richText: boolean; onlyRobot: boolean },
): string {
  if (!text.startsWith("@")) return text;
  if (about.robotName !== undefined && about.robotName !== "") {
    const rest = text.slice(1 + about.robotName.length);
    const whole = rest === "" || /^\s/u.test(rest);
    return whole && text.startsWith(about.robotName, 1) ? rest.trimStart() : text;
  }
  if (!about.richText || !about.onlyRobot) return text;
  const end = text.slice(0, MAX_NAME + 2).search(/\s/u);
  if (end > 1) return text.slice(end).trimStart();
  return end === -1 && text.length > 1 && text.length <= MAX_NAME ? "" : text;
}
