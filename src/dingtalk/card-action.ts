import { compact, idOf, isObject, listOf, objectOf, stringOf, withoutWebhook, type JsonObject } from "./json.ts";

/** Somebody used a control of a card (dingtalk-protocol.md §4.6). */
export interface CardActionPush {
  ok: true;
  outTrackId: string;
  /** The first of `actionIds`; "" when the template names none and only `params` tells. */
  actionId: string;
  actionIds: string[];
  params: Record<string, unknown>;
  /** The staffId; undefined when DingTalk sent none, or a unionId in its place. */
  userId: string | undefined;
  corpId?: string;
  /** The conversation id of a group. What it is in a direct conversation is unknown. */
  spaceId?: string;
  /** `IM_GROUP`, `IM_ROBOT`, `IM`. */
  spaceType?: string;
  /** The parsed body, safe to store and to stringify. */
  body: Record<string, unknown>;
}

/** `reason` names what is wrong and repeats nothing of the data. */
export type CardActionRead = CardActionPush | { ok: false; reason: string };

/** Reads the `data` of a card callback frame, in each of its known shapes. Never throws. */
export function readCardAction(data: string): CardActionRead {
  const parsed = parse(data);
  if (parsed === undefined) return { ok: false, reason: "data is not JSON" };
  if (!isObject(parsed)) return { ok: false, reason: "data is not an object" };
  const body = withoutWebhook(parsed);
  // The other callback of cards, which asks for data.
  if (/dynamicData/i.test(stringOf(body["type"]) ?? "")) return { ok: false, reason: "not an action" };
  const outTrackId = idOf(body["outTrackId"]);
  if (outTrackId === undefined) return { ok: false, reason: "outTrackId is missing" };
  const places = placesOf(body);
  const params = places.map((place) => objectOf(place["params"])).find((found) => found && !isEmpty(found)) ?? {};
  const actionIds = actionIdsOf([...places, params]);
  const isUnion = body["userIdType"] === 2 || body["userIdType"] === "2";
  return {
    ...compact({
      ok: true as const,
      outTrackId,
      actionId: actionIds[0] ?? "",
      actionIds,
      params: withoutWebhook(params),
      corpId: idOf(body["corpId"]),
      spaceId: idOf(body["spaceId"]),
      spaceType: stringOf(body["spaceType"]),
      body,
    }),
    userId: isUnion ? undefined : idOf(body["userId"]),
  };
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

/** Where an action may stand, the documented place first: in `content`, its copy `value`, `actionData`, or at the top. */
function placesOf(body: JsonObject): JsonObject[] {
  const holders = [body["content"], body["value"], body["actionData"]]
    .map(objectOf)
    .filter((found) => found !== undefined);
  const nested = [...holders, body]
    .map((holder) => objectOf(holder["cardPrivateData"]))
    .filter((found) => found !== undefined);
  return [...nested, ...holders, body];
}

function actionIdsOf(places: readonly JsonObject[]): string[] {
  for (const place of places) {
    const list = listOf(place["actionIds"]) ?? [place["actionIds"]];
    const ids = list.map((id) => idOf(id)).filter((id) => id !== undefined);
    if (ids.length > 0) return ids;
    const id = idOf(place["actionId"]);
    if (id !== undefined) return [id];
  }
  return [];
}

const isEmpty = (value: JsonObject): boolean => Object.keys(value).length === 0;
