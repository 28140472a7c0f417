import {
  CONTRACT_VERSION,
  EnvelopeError,
  type Envelope,
  type EnvelopeMessage,
  type EnvelopePart,
  type MessageEnvelope,
} from "./types.ts";

type Json = Record<string, unknown>;

/** Reads the body of `POST /dingtalk/events`. Throws an EnvelopeError that says what is wrong. */
export function readEnvelope(body: string): Envelope {
  const envelope = parse(body);
  const version = envelope["version"];
  if (version !== CONTRACT_VERSION) {
    throw new EnvelopeError(
      "unsupported_version",
      `this plugin reads envelope version ${CONTRACT_VERSION}, not ${JSON.stringify(version)}`,
    );
  }
  const id = required(envelope, "id");
  const account = required(envelope, "account");
  const type = required(envelope, "type");
  if (type === "event") return { id, account, type };
  if (type === "card.action") return readStopButton(envelope, { id, account }) ?? { id, account, type };
  if (type !== "message") throw invalid(`type: ${JSON.stringify(type)} is not known`);
  const reply = object(envelope["reply"], "reply");
  return { id, account, type, message: readMessage(envelope), replyTo: required(reply, "to", "reply.") };
}

/** Of a card's stop button, by its action id (contract, "Stop button"). */
const STOP_ACTION = "stop";

/** Whoever presses the stop button of a card says `/stop` in its conversation. Undefined for any other control, or when it is not known who or where. */
function readStopButton(envelope: Json, { id, account }: { id: string; account: string }): MessageEnvelope | undefined {
  const { action, reply } = envelope;
  if (!isObject(action) || action["actionId"] !== STOP_ACTION || !isObject(action["conversation"])) return undefined;
  const { kind, id: place } = action["conversation"];
  const user = optional(action, "user");
  const replyTo = isObject(reply) ? optional(reply, "to") : undefined;
  if (kind !== "direct" && kind !== "group") return undefined;
  if (typeof place !== "string" || !user || !replyTo) return undefined;
  const conversation: EnvelopeMessage["conversation"] = {
    kind,
    id: place,
    ...present("title", optional(action["conversation"], "title")),
  };
  const said = { text: "/stop", parts: [], sentAt: undefined, mentioned: true };
  return { id, account, type: "message", message: { ...said, conversation, sender: { id: user } }, replyTo };
}

function parse(body: string): Json {
  try {
    return object(JSON.parse(body), "the body");
  } catch (error) {
    if (error instanceof EnvelopeError) throw error;
    throw invalid("the body is not JSON");
  }
}

function readMessage(envelope: Json): EnvelopeMessage {
  const message = object(envelope["message"], "message");
  const conversation = object(message["conversation"], "message.conversation");
  const sender = object(message["sender"], "message.sender");
  const kind = conversation["kind"];
  if (kind !== "direct" && kind !== "group") throw invalid("message.conversation.kind: direct or group is needed");
  if (typeof message["text"] !== "string") throw invalid("message.text: a string is needed");
  const sentAt = Date.parse(optional(message, "sentAt") ?? "");
  const quote = message["quote"] === undefined ? undefined : object(message["quote"], "message.quote");
  return {
    sentAt: Number.isNaN(sentAt) ? undefined : sentAt,
    conversation: {
      kind,
      id: required(conversation, "id", "message.conversation."),
      ...present("title", optional(conversation, "title")),
    },
    sender: {
      id: required(sender, "id", "message.sender."),
      ...present("staffId", optional(sender, "staffId")),
      ...present("dingtalkId", optional(sender, "dingtalkId")),
      ...present("name", optional(sender, "name")),
    },
    mentioned: message["mentioned"] === true,
    text: message["text"],
    parts: readParts(message["parts"]),
    ...(quote && { quote: readQuote(quote) }),
  };
}

function readQuote(quote: Json): NonNullable<EnvelopeMessage["quote"]> {
  const sender = isObject(quote["sender"]) ? optional(quote["sender"], "name") : undefined;
  return {
    text: optional(quote, "text") ?? "",
    parts: readParts(quote["parts"]),
    ...present("messageId", optional(quote, "messageId")),
    ...present("sender", sender),
  };
}

function readParts(parts: unknown): EnvelopePart[] {
  if (!Array.isArray(parts)) return [];
  return (parts as unknown[]).filter(isObject).map((part) => ({
    type: optional(part, "type") ?? "unknown",
    ...present("text", optional(part, "text")),
    ...present("fileName", optional(part, "fileName")),
    ...present("recognition", optional(part, "recognition")),
    ...readMedia(part["media"]),
    ...(isObject(part["error"]) && {
      error: { code: optional(part["error"], "code") ?? "", detail: optional(part["error"], "detail") ?? "" },
    }),
  }));
}

function readMedia(media: unknown): Pick<EnvelopePart, "media"> {
  const id = isObject(media) ? optional(media, "id") : undefined;
  if (!isObject(media) || id === undefined) return {};
  const { bytes, durationMs } = media;
  return {
    media: {
      id,
      ...present("mimeType", optional(media, "mimeType")),
      ...present("fileName", optional(media, "fileName")),
      ...(typeof bytes === "number" && { bytes }),
      ...(typeof durationMs === "number" && { durationMs }),
    },
  };
}

const invalid = (message: string): EnvelopeError => new EnvelopeError("invalid_envelope", message);

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function object(value: unknown, path: string): Json {
  if (!isObject(value)) throw invalid(`${path}: an object is needed`);
  return value;
}

function required(from: Json, key: string, path = ""): string {
  const value = optional(from, key);
  if (!value) throw invalid(`${path}${key}: a non-empty string is needed`);
  return value;
}

function optional(from: Json, key: string): string | undefined {
  const value = from[key];
  return typeof value === "string" ? value : undefined;
}

function present<const K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: string });
}
