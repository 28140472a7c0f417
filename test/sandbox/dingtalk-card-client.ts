import { publicTemplate } from "../../src/sandbox/dingtalk-card-knobs.ts";
import type { SimulatedCard } from "../../src/sandbox/dingtalk-card-types.ts";
import type { DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { appKey, call, token, type Answer } from "./dingtalk-client.ts";

export const outTrackId = "br_1";
export const toUser = {
  openSpaceId: "dtv1.card//IM_ROBOT.staff001",
  imRobotOpenSpaceModel: { supportForward: true, lastMessageI18n: { ZH_CN: "摘要" } },
  imRobotOpenDeliverModel: { spaceType: "IM_ROBOT", robotCode: appKey, extension: { dynamicSummary: "true" } },
};
export const toGroup = {
  openSpaceId: "dtv1.card//IM_GROUP.cidGroup==",
  imGroupOpenSpaceModel: { supportForward: true },
  imGroupOpenDeliverModel: { robotCode: appKey, atUserIds: { staff001: "张三" } },
  cardAtUserIds: ["staff001"],
};
export const instance = {
  cardTemplateId: publicTemplate,
  outTrackId,
  callbackType: "STREAM",
  userIdType: 1,
  cardData: { cardParamMap: { msgContent: "", status: "new" } },
};

/** Calls with a token of the first app. `create` is direct, all calls are about `outTrackId`; `more` is merged over the body. */
export interface CardClient {
  authed(method: string, path: string, body: unknown): Promise<Answer>;
  create(more?: object): Promise<Answer>;
  /** With a guid of its own. */
  stream(content: string, more?: object): Promise<Answer>;
  /** By key. */
  update(more?: object): Promise<Answer>;
  /** Throws when there is none. */
  card(): SimulatedCard;
}

export function cardClient(sim: DingtalkSimulator): CardClient {
  const authed: CardClient["authed"] = async (method, path, body) =>
    call(sim, path, body, { "x-acs-dingtalk-access-token": await token(sim) }, method);
  let guids = 0;
  return {
    authed,
    create: (more) => authed("POST", "/v1.0/card/instances/createAndDeliver", { ...instance, ...toUser, ...more }),
    stream: (content, more) =>
      authed("PUT", "/v1.0/card/streaming", {
        outTrackId,
        guid: `guid-${++guids}`,
        key: "msgContent",
        content,
        isFull: true,
        ...more,
      }),
    update: (more) =>
      authed("PUT", "/v1.0/card/instances", {
        outTrackId,
        cardData: { cardParamMap: { status: "done" } },
        cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
        ...more,
      }),
    card() {
      const found = sim.card(outTrackId);
      if (!found) throw new Error("no card");
      return found;
    },
  };
}
