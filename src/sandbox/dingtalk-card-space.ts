import { isFilled, isObject } from "./dingtalk-api.ts";
import type { CardPlace } from "./dingtalk-cards.ts";
import type { App, World } from "./dingtalk-world.ts";

/** A code of Appendix A, or where the card goes, or why it reaches nobody. */
export type SpaceRead = { code: string } | { spaces: Space[]; summary: Record<string, string> };

export interface Space {
  spaceType: string;
  spaceId: string;
  /** `errorMsg` of a failed delivery. */
  error?: string;
  place: Omit<CardPlace, "carrierId">;
}

const models: Readonly<Record<string, string>> = {
  IM_GROUP: "imGroup",
  IM_ROBOT: "imRobot",
  IM_SINGLE: "imSingle",
  ONE_BOX: "topGroup",
};
const languages = new Set(["ZH_CN", "ZH_TW", "EN_US", "JA_JP", "VI_VN", "TH_TH"]);

/**
 * Reads `openSpaceId` (`dtv1.card//TYPE.id[;TYPE2.id2…]`, types in any case) and the models that go with it
 * (dingtalk-protocol.md §4.2). `problem` hears of what has no effect.
 */
export function readSpaces(
  json: Record<string, unknown>,
  app: App,
  world: World,
  problem: (text: string) => void,
): SpaceRead {
  const { openSpaceId } = json;
  if (!isFilled(openSpaceId)) return { code: "param.openSpaceIdEmpty" };
  const list = /^dtv1\.card\/\/(.+)$/.exec(openSpaceId)?.[1]?.split(";");
  if (!list) return { code: "param.openSpaceIdInvalid" };
  const spaces: Space[] = [];
  let summary = {};
  for (const text of list) {
    const [, type = "", spaceId = ""] = /^([A-Za-z_]+)\.(.+)$/.exec(text) ?? [];
    const spaceType = type.toUpperCase();
    const prefix = Object.hasOwn(models, spaceType) ? models[spaceType] : undefined;
    if (prefix === undefined) return { code: "param.openSpaceIdInvalid" };
    const spaceModel = json[`${prefix}OpenSpaceModel`];
    const deliverModel = json[`${prefix}OpenDeliverModel`];
    const code = badSpaceModel(spaceModel, problem) ?? badDeliverModel(spaceType, deliverModel, app);
    if (code !== undefined) return { code };
    if (isObject(spaceModel) && isObject(spaceModel["lastMessageI18n"])) summary = spaceModel["lastMessageI18n"];
    const space = spaceOf(spaceType, spaceId, app, world);
    if ("code" in space) return space;
    if (isObject(deliverModel) && isObject(deliverModel["atUserIds"])) {
      space.place.atUserIds = deliverModel["atUserIds"] as Record<string, string>;
    }
    spaces.push(space);
  }
  return { spaces, summary };
}

function badSpaceModel(model: unknown, problem: (text: string) => void): string | undefined {
  if (model === undefined) return undefined;
  if (!isObject(model) || typeof model["supportForward"] !== "boolean") return "param.openSpaceModelInvalid";
  const { lastMessageI18n } = model;
  if (lastMessageI18n === undefined) return undefined;
  if (!isObject(lastMessageI18n)) return "param.openSpaceModelInvalid";
  for (const language of Object.keys(lastMessageI18n)) {
    if (!languages.has(language)) problem(`lastMessageI18n: "${language}" is not a language and has no effect`);
  }
  return undefined;
}

function badDeliverModel(spaceType: string, model: unknown, app: App): string | undefined {
  if (model === undefined) return "param.openDeliverModelEmpty";
  if (!isObject(model)) return "param.openDeliverModelError";
  const { robotCode } = model;
  if (robotCode !== undefined && robotCode !== app.robotCode) return "param.openDeliverModelError";
  if (spaceType === "IM_GROUP" && robotCode === undefined) return "param.openDeliverModelError";
  // The field failed without it (dingtalk-protocol.md §4.2, "when nothing else is set").
  if (spaceType === "IM_ROBOT" && model["spaceType"] !== "IM_ROBOT") return "param.openDeliverModelError";
  return undefined;
}

function spaceOf(spaceType: string, spaceId: string, app: App, world: World): Space | { code: string } {
  const space = (conversationId: string, more: { error?: string; userId?: string } = {}): Space => {
    const { error, ...rest } = more;
    const place = { conversationId, spaceType, atUserIds: {}, ...rest };
    return { spaceType, spaceId, place, ...(error === undefined ? {} : { error }) };
  };
  const illegal = { error: "spaceId is illegal" };
  if (spaceType === "IM_GROUP") {
    const group = world.findGroup(spaceId);
    const isIn = group && (!group.robots || group.robots.includes(app.appKey));
    return isIn ? space(spaceId) : space(spaceId, illegal);
  }
  if (spaceType !== "IM_ROBOT") return space(spaceId);
  // A conversation id in the place of the user id: the mistake of many clients.
  if (spaceId.startsWith("cid")) return space(spaceId, illegal);
  const user = world.findUser(spaceId);
  if (!user || user.outsider) return { code: "param.userIdNotExist" };
  return space(world.direct(app, spaceId).id, { userId: spaceId });
}
