import { randomUUID } from "node:crypto";
import type { Account } from "../domain/account.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { type Failure, type Judged, judge } from "./answers.ts";
import { AuthorisedApi, type AuthorisedRequest } from "./authorised.ts";
import type { HttpAnswer, HttpCall } from "./http.ts";
import { isObject } from "./json.ts";
import type { TokenSource } from "./token.ts";

/** How DingTalk answered a call that names something made up. */
export interface Probed {
  /** DingTalk's own code; "" when it complained about nothing. */
  theirCode: string;
  /** Undefined when it complained about nothing. */
  failure: Failure | undefined;
}

/** What nobody has: no message, no card and no person is called so. */
const MADE_UP = "dingtalk-bridge-doctor";

/**
 * Calls that show nothing to anybody and change nothing. DingTalk checks the permission before it looks at what a call names
 * (403 with `requiredScopes`, dingtalk-protocol.md §3.1), so a call about something made up is refused differently with the
 * permission than without it. Each may count as one Open API call of the month.
 */
export class ProbeApi {
  readonly #robotCode: string;
  readonly #api: AuthorisedApi;

  constructor(options: {
    account: Account;
    apiBase: string;
    call: HttpCall;
    tokens: TokenSource;
    logger: Logger;
    metrics: Metrics;
  }) {
    this.#robotCode = options.account.robotCode;
    this.#api = new AuthorisedApi(options);
  }

  /** `qyapi_robot_sendmsg` and the robot code: who has read a message that nobody sent (dingtalk-protocol.md §3.7). */
  robot(signal?: AbortSignal): Promise<Probed> {
    const query = { robotCode: this.#robotCode, processQueryKey: MADE_UP };
    return this.#ask({ method: "GET", path: "/v1.0/robot/oToMessages/readStatus", query, signal });
  }

  /** `Card.Instance.Write`: an update of a card that is not there (§4.4). */
  cardWrite(signal?: AbortSignal): Promise<Probed> {
    const json = {
      outTrackId: `${MADE_UP}-${randomUUID()}`,
      userIdType: 1,
      cardData: { cardParamMap: { doctor: "" } },
      cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
    };
    return this.#ask({ method: "PUT", path: "/v1.0/card/instances", json, signal });
  }

  /** `Card.Streaming.Write`: text for a card that is not there (§4.3). */
  cardStream(signal?: AbortSignal): Promise<Probed> {
    const outTrackId = `${MADE_UP}-${randomUUID()}`;
    const json = { outTrackId, guid: randomUUID(), key: "content", content: "-", isFull: true, isFinalize: false };
    return this.#ask({ method: "PUT", path: "/v1.0/card/streaming", json, signal });
  }

  /** The template: a card for a person that is not there, so that nobody gets it (§4.2). */
  template(template: { id: string; key: string }, signal?: AbortSignal): Promise<Probed> {
    const json = {
      cardTemplateId: template.id,
      outTrackId: `${MADE_UP}-${randomUUID()}`,
      callbackType: "STREAM",
      userIdType: 1,
      cardData: { cardParamMap: { [template.key]: "" } },
      openSpaceId: `dtv1.card//IM_ROBOT.${MADE_UP}`,
      imRobotOpenSpaceModel: { supportForward: false },
      imRobotOpenDeliverModel: { spaceType: "IM_ROBOT", robotCode: this.#robotCode },
    };
    return this.#ask({ method: "POST", path: "/v1.0/card/instances/createAndDeliver", json, signal });
  }

  async #ask(request: Omit<AuthorisedRequest<Probed>, "judge">): Promise<Probed> {
    const judged = await this.#api.request({ ...request, judge: probed });
    return judged.kind === "done" ? judged.value : { theirCode: "", failure: judged };
  }
}

/** Anything but a token that has to be renewed is an answer to the probe. */
function probed(answer: HttpAnswer, secrets: readonly string[]): Judged<Probed> {
  const judged = judge(answer, secrets);
  if (judged.kind === "token") return judged;
  const body = answer.body.kind === "json" && isObject(answer.body.value) ? answer.body.value : {};
  const { code = body["errcode"] } = body;
  const theirCode = typeof code === "string" || typeof code === "number" ? String(code).slice(0, 100) : "";
  return { kind: "done", value: { theirCode, failure: judged.kind === "done" ? undefined : judged } };
}
