/** A client frame as far as it could be read. */
export interface ParsedAck {
  messageId: string | undefined;
  code: number | undefined;
  /** `data`, parsed. */
  data: unknown;
  /** What is wrong, or undefined. */
  malformed: string | undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Reads and judges an ack strictly by dingtalk-protocol.md §1.6: JSON text, numeric `code`, `headers.messageId`,
 * `headers.contentType` of application/json, `data` a string that is JSON.
 */
export function parseAck(text: string, isBinary: boolean): ParsedAck {
  const ack: ParsedAck = { messageId: undefined, code: undefined, data: undefined, malformed: undefined };
  const wrong: string[] = [];
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return { ...ack, malformed: "not JSON" };
  }
  if (!isObject(frame)) return { ...ack, malformed: "not a JSON object" };
  if (isBinary) wrong.push("sent as a binary message");
  if (typeof frame["code"] === "number") ack.code = frame["code"];
  else wrong.push("code is not a number");
  if (frame["message"] !== undefined && typeof frame["message"] !== "string") wrong.push("message is not a string");
  const headers = frame["headers"];
  if (isObject(headers)) {
    if (typeof headers["messageId"] === "string") ack.messageId = headers["messageId"];
    else wrong.push("headers.messageId is not a string");
    if (headers["contentType"] !== "application/json") wrong.push("headers.contentType is not application/json");
  } else {
    wrong.push("headers is not an object");
  }
  if (typeof frame["data"] === "string") {
    try {
      ack.data = JSON.parse(frame["data"]);
    } catch {
      wrong.push("data is not JSON");
    }
  } else {
    wrong.push("data is not a string");
  }
  if (wrong.length > 0) ack.malformed = wrong.join("; ");
  return ack;
}

/**
 * What an accepted ack asks for. Events answer `{status: SUCCESS | LATER}`; any code but 200 asks for the message again.
 * Returns what is wrong with the data of an event ack.
 */
export function judgeAck(ack: ParsedAck, type: string): { again: boolean; malformed: string | undefined } {
  if (ack.code !== 200) return { again: true, malformed: undefined };
  if (type !== "EVENT") return { again: false, malformed: undefined };
  const status = isObject(ack.data) ? ack.data["status"] : undefined;
  if (status === "LATER") return { again: true, malformed: undefined };
  return {
    again: false,
    malformed: status === "SUCCESS" ? undefined : "data.status of an event ack is neither SUCCESS nor LATER",
  };
}
