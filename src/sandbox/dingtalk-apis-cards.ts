import { badRequest, isFilled, isObject, type ApiCall, type ApiContext, type ApiDefinition } from "./dingtalk-api.ts";
import type { CardDraft, Params } from "./dingtalk-cards.ts";
import { readSpaces, type Space, type SpaceRead } from "./dingtalk-card-space.ts";
import type { SimulatedCard } from "./dingtalk-card-types.ts";
import { answerOf, ok, type ApiAnswer } from "./dingtalk-errors.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import type { App } from "./dingtalk-world.ts";

type Json = Record<string, unknown>;
interface Asked {
  json: Json;
  app: App;
}

const MAX_KEY_BYTES = 100;

/** Runs the API when there is a body, an outTrackId, and the app's card calls are not too many. */
const card =
  (run: (asked: Asked, call: ApiCall, context: ApiContext) => ApiAnswer) =>
  (call: ApiCall, context: ApiContext): ApiAnswer => {
    const { json, app } = call;
    if (!json || !app || Object.keys(json).length === 0) return badRequest("param.empty");
    return context.limits.cards(app) ?? run({ json, app }, call, context);
  };

/** A `cardParamMap`, an error code, or undefined when there is none. */
function paramsOf(data: unknown, knobs: SimulatorKnobs): { params: Params } | { code: string } | undefined {
  if (data === undefined || data === null) return undefined;
  const map = isObject(data) ? data["cardParamMap"] : undefined;
  if (map === undefined) return undefined;
  if (!isObject(map)) return { code: "param.invalid" };
  const params: Params = {};
  for (const [key, value] of Object.entries(map)) {
    if (Buffer.byteLength(key) > MAX_KEY_BYTES) return { code: "param.invalid" };
    if (typeof value !== "string" && knobs.cardParamsStrict) return { code: "param.invalid" };
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (knobs.cardParamBytes > 0 && Buffer.byteLength(text) > knobs.cardParamBytes) return { code: "param.invalid" };
    params[key] = text;
  }
  return { params };
}

function privateOf(
  data: unknown,
  { knobs, world }: ApiContext,
): { byUser: Record<string, Params> } | { code: string } | undefined {
  if (data === undefined || data === null) return undefined;
  if (!isObject(data)) return { code: "param.invalid" };
  const byUser: Record<string, Params> = {};
  for (const [userId, own] of Object.entries(data)) {
    if (userId === "") return { code: "param.userIdEmpty" };
    if (!world.findUser(userId)) return { code: "param.userIdNotExist" };
    const read = paramsOf(own, knobs);
    if (read && "code" in read) return read;
    byUser[userId] = read?.params ?? {};
  }
  return { byUser };
}

function draftOf({ json, app }: Asked, context: ApiContext): CardDraft | { code: string } {
  const { knobs } = context;
  const { cardTemplateId: templateId, outTrackId, callbackType = "" } = json;
  if (!isFilled(templateId)) return { code: "param.cardTemplateIdEmpty" };
  if (!isFilled(outTrackId)) return { code: "param.outTrackIdEmpty" };
  const data = paramsOf(json["cardData"], knobs);
  if (!data) return { code: "param.cardPublicDataEmpty" };
  if ("code" in data) return data;
  const own = privateOf(json["privateData"], context);
  if (own && "code" in own) return own;
  if (callbackType !== "" && callbackType !== "STREAM" && callbackType !== "HTTP") return { code: "param.invalid" };
  if (callbackType === "HTTP" && !isFilled(json["callbackRouteKey"])) return { code: "param.invalid" };
  if (knobs.cardTemplatesUnpublished.includes(templateId)) return { code: "param.templateUnpublished" };
  if (!knobs.cardTemplates.includes(templateId) && !knobs.cardTemplates.includes("*")) {
    return { code: "param.templateNotExist" };
  }
  if (context.cards.find(app, outTrackId)) return { code: "param.cardAlreadyExist" };
  const { cardAtUserIds = [] } = json;
  if (!Array.isArray(cardAtUserIds) || !cardAtUserIds.every((id) => isFilled(id))) return { code: "param.invalid" };
  const privateParams = own?.byUser ?? {};
  return { templateId, outTrackId, params: data.params, privateParams, callbackType, cardAtUserIds, summary: {} };
}

const spacesOf = ({ json, app }: Asked, api: string, { world, records }: ApiContext): SpaceRead =>
  readSpaces(json, app, world, (text) => records.problem(`${api}: ${text}`));

function put(created: SimulatedCard, spaces: Space[], call: ApiCall, context: ApiContext): Json[] {
  const { knobs, world, cards } = context;
  const results = spaces.map(({ spaceType, spaceId, error, place }) => {
    const errorMsg = knobs.cardDeliverError === "" ? (error ?? "") : knobs.cardDeliverError;
    if (errorMsg !== "") return { spaceType, spaceId, success: false, carrierId: "", errorMsg };
    const carrierId = world.ids.processQueryKey();
    call.record.conversationId = place.conversationId;
    cards.deliver(created, { ...place, carrierId });
    return { spaceType, spaceId, success: true, carrierId, errorMsg };
  });
  if (!created.delivered) cards.undelivered(created);
  return results;
}

function createAndDeliver(asked: Asked, call: ApiCall, context: ApiContext): ApiAnswer {
  const draft = draftOf(asked, context);
  if ("code" in draft) return badRequest(draft.code);
  const read = spacesOf(asked, "createAndDeliver", context);
  if ("code" in read) return badRequest(read.code);
  const created = context.cards.create(asked.app, { ...draft, summary: read.summary });
  const deliverResults = put(created, read.spaces, call, context);
  return ok({ success: true, result: { outTrackId: created.outTrackId, deliverResults } });
}

function create(asked: Asked, _call: ApiCall, context: ApiContext): ApiAnswer {
  const draft = draftOf(asked, context);
  if ("code" in draft) return badRequest(draft.code);
  const created = context.cards.create(asked.app, draft);
  context.records.emit("card", created);
  return ok({ success: true, result: created.outTrackId });
}

function deliver(asked: Asked, call: ApiCall, context: ApiContext): ApiAnswer {
  const { outTrackId } = asked.json;
  if (!isFilled(outTrackId)) return badRequest("param.outTrackIdEmpty");
  const found = context.cards.find(asked.app, outTrackId);
  if (!found) return badRequest("param.cardNotExist");
  const read = spacesOf(asked, "card/instances/deliver", context);
  if ("code" in read) return badRequest(read.code);
  return ok({ success: true, result: put(found, read.spaces, call, context) });
}

function update({ json, app }: Asked, call: ApiCall, context: ApiContext): ApiAnswer {
  const { outTrackId, cardUpdateOptions } = json;
  if (!isFilled(outTrackId)) return badRequest("param.outTrackIdEmpty");
  const found = context.cards.find(app, outTrackId);
  if (!found) return badRequest("param.cardNotExist");
  call.record.conversationId = found.conversationId;
  const data = paramsOf(json["cardData"], context.knobs);
  if (data && "code" in data) return badRequest(data.code);
  const own = privateOf(json["privateData"], context);
  if (own && "code" in own) return badRequest(own.code);
  if (!data && !own) return badRequest("param.cardDataAndPrivateDataBothEmpty");
  const options = isObject(cardUpdateOptions) ? cardUpdateOptions : {};
  context.cards.change(found, {
    params: data?.params,
    byKey: options["updateCardDataByKey"] === true,
    privateParams: own?.byUser,
    privateByKey: options["updatePrivateDataByKey"] === true,
  });
  return ok({ success: true, result: true });
}

function stream({ json, app }: Asked, call: ApiCall, context: ApiContext): ApiAnswer {
  const { outTrackId, guid, key, content, isFull } = json;
  const { knobs, cards } = context;
  if (!isFilled(guid)) return badRequest("param.stream.guidEmpty");
  if (!isFilled(key)) return badRequest("param.stream.keyEmpty");
  if (!isFilled(content)) return badRequest("param.stream.contentEmpty");
  const found = isFilled(outTrackId) ? cards.find(app, outTrackId) : undefined;
  if (!found) return badRequest("param.stream.outTrackId", "card is not exist");
  call.record.conversationId = found.conversationId;
  if (isFull !== true && (knobs.cardMarkdown || isFull === undefined || isFull === null)) {
    return badRequest("param.stream.isFull", "streaming update the parameter isFull is null");
  }
  const keys = knobs.cardStreamKeys[found.templateId];
  if (keys && !keys.includes(key)) return answerOf("unknownError");
  if (knobs.cardStreamBytes > 0 && Buffer.byteLength(content) > knobs.cardStreamBytes) {
    if (knobs.cardStreamTooLong === "unknownError") return answerOf("unknownError");
    return badRequest("param.stream.content", "content is too large");
  }
  const isFinalize = json["isFinalize"] === true;
  const isError = json["isError"] === true;
  const done = cards.stream(found, { key, content, guid, isFinalize, isError, append: isFull !== true });
  return done === "finished" ? answerOf("unknownError") : ok({ success: true, result: true });
}

const common = { host: "api", auth: "token", paid: true, limited: true } as const;
const instances = { ...common, scope: "Card.Instance.Write" } as const;
const path = "/v1.0/card/instances";

/** AI cards (dingtalk-protocol.md §4). */
export const cardApis: ApiDefinition[] = [
  {
    ...instances,
    name: "card/instances/createAndDeliver",
    method: "POST",
    path: `${path}/createAndDeliver`,
    handle: card(createAndDeliver),
  },
  { ...instances, name: "card/instances/create", method: "POST", path, handle: card(create) },
  { ...instances, name: "card/instances/deliver", method: "POST", path: `${path}/deliver`, handle: card(deliver) },
  { ...instances, name: "card/instances/update", method: "PUT", path, handle: card(update) },
  {
    ...common,
    scope: "Card.Streaming.Write",
    name: "card/streaming",
    method: "PUT",
    path: "/v1.0/card/streaming",
    handle: card(stream),
  },
];
