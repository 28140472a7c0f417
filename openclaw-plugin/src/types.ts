/**
 * The part of the gateway message envelope, version 1, that this plugin reads. The bridge writes more; fields that are not known here are ignored, so an older plugin accepts what a newer bridge sends.
 */
export const CONTRACT_VERSION = 1;

export interface EnvelopePart {
  type: string;
  text?: string;
  fileName?: string;
  recognition?: string;
  /** The bridge has the file. */
  media?: { id: string; mimeType?: string; bytes?: number; fileName?: string; durationMs?: number };
  /** There was a file, and this is why it is missing. */
  error?: { code: string; detail: string };
}

export interface EnvelopeMessage {
  /** Epoch milliseconds; undefined when the sender's client gave no readable time. */
  sentAt: number | undefined;
  conversation: { kind: "direct" | "group"; id: string; title?: string };
  sender: { id: string; staffId?: string; dingtalkId?: string; name?: string };
  mentioned: boolean;
  text: string;
  parts: EnvelopePart[];
  quote?: { messageId?: string; sender?: string; text: string; parts: EnvelopePart[] };
}

/** A message from DingTalk, as the bridge sends it. */
export interface MessageEnvelope {
  /** The same on every try: account, colon, DingTalk's message id. */
  id: string;
  /** The bridge's name for the robot. */
  account: string;
  type: "message";
  message: EnvelopeMessage;
  /** `user:<staffId>` or `conversation:<id>`; the ids are case-sensitive. */
  replyTo: string;
}

/** Card actions other than the stop button, and events: known to the contract, without an effect here. */
export interface OtherEnvelope {
  id: string;
  account: string;
  type: "card.action" | "event";
}

export type Envelope = MessageEnvelope | OtherEnvelope;

/** What became of an envelope; the bridge keeps `decision` and `reason` with the message and shows them. */
export interface Decision {
  decision: "accepted" | "denied" | "skipped" | "merged" | "pairing" | "stopped";
  reason?: string;
  runId?: string;
}

/** Thrown by `readEnvelope`; `code` is one of the contract's, and the bridge makes the message a dead letter. */
export class EnvelopeError extends Error {
  readonly code: "invalid_envelope" | "unsupported_version";

  constructor(code: EnvelopeError["code"], message: string) {
    super(message);
    this.name = "EnvelopeError";
    this.code = code;
  }
}
