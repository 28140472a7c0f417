import { type Failure, type Judged, judge, unproven } from "./answers.ts";
import type { HttpAnswer } from "./http.ts";
import { isObject, type JsonObject } from "./json.ts";
import { quotePeer } from "./stream-failure.ts";

/** What became of a card that was to be put into a chat. */
export type Delivery =
  | { kind: "delivered"; carrierId: string | undefined }
  /** The card exists and nobody sees it. */
  | { kind: "undelivered"; failure: Failure };

/**
 * Judges createAndDeliver and deliver, which name each space they delivered to and answer 200 also when one failed
 * (dingtalk-protocol.md §4.2). A card that exists already is delivered.
 */
export function judgeDelivery(answer: HttpAnswer, secrets: readonly string[]): Judged<Delivery> {
  const body = answer.body.kind === "json" && isObject(answer.body.value) ? answer.body.value : {};
  if (body["code"] === "param.cardAlreadyExist") {
    return { kind: "done", value: { kind: "delivered", carrierId: undefined } };
  }
  const judged = judge(answer, secrets);
  const spaces = spacesOf(body);
  const failed = spaces.find((space) => !isTrue(space["success"]));
  if (failed && answer.status === 200 && isTrue(body["success"]) && judged.kind !== "token") {
    const failure = failureOfSpace(failed["errorMsg"], judged, answer, secrets);
    return { kind: "done", value: { kind: "undelivered", failure } };
  }
  if (judged.kind !== "done") return judged;
  const [space] = spaces;
  if (!space) return unproven("deliverResults", answer);
  const { carrierId } = space;
  const isKey = typeof carrierId === "string" && carrierId !== "";
  return { kind: "done", value: { kind: "delivered", carrierId: isKey ? carrierId : undefined } };
}

/** Judges an update or a streaming update. */
export function judgeCard(answer: HttpAnswer, secrets: readonly string[]): Judged<undefined> {
  const judged = judge(answer, secrets);
  if (judged.kind !== "done") return judged;
  const { success, result } = judged.value;
  if (isTrue(success) && result !== false) return { kind: "done", value: undefined };
  return unproven("success", answer);
}

const isTrue = (value: unknown): boolean => value === true || value === "true";

/** `result` is a list for deliver. */
function spacesOf({ result }: JsonObject): JsonObject[] {
  const list = isObject(result) ? result["deliverResults"] : result;
  return Array.isArray(list) ? (list as unknown[]).filter((space) => isObject(space)) : [];
}

/** By the words of the space, unless DingTalk sent a code with them. */
function failureOfSpace(
  errorMsg: unknown,
  judged: Failure | { kind: "done" },
  answer: HttpAnswer,
  secrets: readonly string[],
): Failure {
  if (judged.kind !== "done" && judged.code !== "dingtalk_rejected") return judged;
  const said = typeof errorMsg === "string" ? errorMsg : "";
  const missing = unproven("a delivery of the card", answer).detail ?? "";
  const { detail = "" } = judged.kind === "done" ? { detail: `${missing}: ${quotePeer(said, secrets)}` } : judged;
  if (/spaceId is illegal/i.test(said)) return { kind: "rejected", code: "recipient_unknown", detail };
  const busy = /system[_.]?(?:error|busy)|time\s?out|系统|超时/i.test(said);
  return { kind: "retry", code: busy ? "dingtalk_unavailable" : "dingtalk_rejected", class: "entry", detail };
}
