/** A frame above this is not read. Real ones stay below 256 KiB (dingtalk-protocol.md §1.2). */
export const MAX_FRAME_BYTES = 1024 * 1024;

export type InvalidReason = "binary" | "too_large" | "not_json" | "not_an_object" | "no_message_id" | "unknown_type";

export interface SystemFrame {
  kind: "system";
  topic: string;
  /** A `disconnect` may come without one. */
  messageId?: string;
  time?: number;
  data: string;
  raw: string;
}

export interface PushFrame {
  kind: "push";
  type: "CALLBACK" | "EVENT";
  topic: string;
  messageId: string;
  /** Epoch milliseconds of DingTalk's clock. */
  time?: number;
  /** The JSON text inside the frame, as it came; not parsed here. */
  data: string;
  eventId?: string;
  eventType?: string;
  raw: string;
}

export interface InvalidFrame {
  kind: "invalid";
  reason: InvalidReason;
  /** Present where the frame could be read that far, so that it can be answered. */
  messageId?: string;
}

export type Frame = SystemFrame | PushFrame | InvalidFrame;

/** What a WebSocket hands over: ws gives a Buffer, or fragments, or an ArrayBuffer, by its settings. */
export type FrameData = string | Buffer | ArrayBuffer | Buffer[];

/**
 * Reads one WebSocket message (dingtalk-protocol.md §1.3). Never throws: what cannot be read is `invalid` with a reason.
 * `specVersion` is optional, `time` may be a number or its text, `data` may be missing or (never seen) an object.
 */
export function parseFrame(data: FrameData, isBinary: boolean): Frame {
  if (isBinary) return { kind: "invalid", reason: "binary" };
  if (byteLength(data) > MAX_FRAME_BYTES) return { kind: "invalid", reason: "too_large" };
  const raw = toText(data);
  try {
    return fromJson(JSON.parse(raw), raw);
  } catch {
    // Also nesting so deep that JSON.parse or JSON.stringify runs out of stack.
    return { kind: "invalid", reason: "not_json" };
  }
}

function fromJson(value: unknown, raw: string): Frame {
  if (!isRecord(value)) return { kind: "invalid", reason: "not_an_object" };
  const headers = isRecord(value["headers"]) ? value["headers"] : {};
  const messageId = text(headers["messageId"]);
  const id = messageId === undefined ? {} : { messageId };
  const moment = epoch(headers["time"]);
  const common = {
    topic: text(headers["topic"]) ?? "",
    data: dataText(value["data"]),
    raw,
    ...(moment === undefined ? {} : { time: moment }),
  };
  const type = value["type"];
  if (type === "SYSTEM") return { kind: "system", ...common, ...id };
  if (type !== "CALLBACK" && type !== "EVENT") return { kind: "invalid", reason: "unknown_type", ...id };
  if (messageId === undefined) return { kind: "invalid", reason: "no_message_id" };
  const eventId = text(headers["eventId"]);
  const eventType = text(headers["eventType"]);
  return {
    kind: "push",
    type,
    messageId,
    ...common,
    ...(eventId === undefined ? {} : { eventId }),
    ...(eventType === undefined ? {} : { eventType }),
  };
}

const ACK_MESSAGES: Readonly<Record<number, string>> = { 200: "OK", 400: "Bad Request", 404: "Not Found" };

/**
 * The answer to a frame (dingtalk-protocol.md §1.6). A string goes out as it is (a ping is echoed), anything else as
 * JSON text, because `data` is a string on the wire. Never throws: data that JSON cannot express becomes an empty answer.
 */
export function ackFrame(messageId: string | undefined, data: unknown, code = 200): string {
  return JSON.stringify({
    code,
    message: ACK_MESSAGES[code] ?? "Internal Error",
    headers: { contentType: "application/json", ...(messageId === undefined ? {} : { messageId }) },
    data: ackData(data),
  });
}

function ackData(data: unknown): string {
  if (typeof data === "string") return data;
  try {
    return JSON.stringify(data) ?? EMPTY_ACK;
  } catch {
    return EMPTY_ACK;
  }
}

const EMPTY_ACK = '{"response":null}';

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function byteLength(data: FrameData): number {
  if (typeof data === "string") return Buffer.byteLength(data);
  if (Array.isArray(data)) return data.reduce((sum, part) => sum + part.byteLength, 0);
  return data.byteLength;
}

function toText(data: FrameData): string {
  if (typeof data === "string") return data;
  if (Array.isArray(data)) return Buffer.concat(data).toString("utf8");
  return Buffer.isBuffer(data) ? data.toString("utf8") : Buffer.from(data).toString("utf8");
}

/** A header's text. Ids are taken as they are, whatever they look like; an empty one is none. */
function text(value: unknown): string | undefined {
  if (typeof value === "string") return value === "" ? undefined : value;
  return typeof value === "number" ? String(value) : undefined;
}

/** Milliseconds, only where they can be a time of this century: a header of garbage must not move our clock offset. */
function epoch(value: unknown): number | undefined {
  const ms = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof ms === "number" && ms > 946_684_800_000 && ms < 4_102_444_800_000 ? ms : undefined;
}

function dataText(value: unknown): string {
  if (typeof value === "string") return value;
  return value === undefined || value === null ? "" : JSON.stringify(value);
}
