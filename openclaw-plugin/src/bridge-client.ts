import { type Bridge, type Json, hasId, insist, noBody, tryOnce } from "./bridge-http.ts";

const UPLOAD_TIMEOUT_MS = 300_000;
const ACTIVITY_TIMEOUT_MS = 5_000;

/** A file as a message names it: uploaded before, or at an address that the bridge fetches itself. */
export interface FileContent {
  type: "image" | "file" | "audio" | "video";
  media: { id: string } | { url: string };
  fileName?: string;
  /** Follows the file as a message. */
  caption?: string;
}

export type Content = { type: "text" | "markdown"; text: string } | FileContent;

/** Where an answer goes. */
export interface Target {
  /** `user:<staffId>` or `conversation:<id>`. */
  to: string;
  /** The envelope's id. */
  inReplyTo?: string;
}

/** `POST /v1/messages` of the bridge. */
export interface OutboundMessage extends Target {
  content: Content;
  mentions?: { userIds: string[] };
}

/** One intent to send. */
export interface Sending {
  message: OutboundMessage;
  key: string;
}

/** What the bridge says of a message (contract, `GET /v1/messages/:id`); just taken, it is `queued`. */
export interface MessageState {
  id: string;
  status: "queued" | "sending" | "retrying" | "delivered" | "cancelled" | "dead";
  /** DingTalk may have it though nobody knows. */
  uncertain: boolean;
  /** DingTalk's own receipts, of parts that have one. */
  receipts: string[];
  /** How many parts were delivered. */
  delivered: number;
  error?: { code: string; detail: string };
}

/**
 * Hands a message to the bridge and returns the bridge's id for it: from then on it is on the bridge's disk. Throws what `insist`
 * throws.
 */
export async function sendMessage(bridge: Bridge, sending: Sending): Promise<string> {
  return idOf(await postMessage(bridge, sending));
}

/** The same, and waits at most `waitS` seconds for what becomes of it; not at all when undefined. Throws what `insist` throws. */
export async function sendAndWait(bridge: Bridge, sending: Sending, waitS: number | undefined): Promise<MessageState> {
  return stateOf(await postMessage(bridge, sending, waitS));
}

async function postMessage(bridge: Bridge, { message, key }: Sending, waitS?: number): Promise<Json> {
  const body = (): Json => ({ account: bridge.account.bridgeAccount, ...message });
  const wait = waitS !== undefined && { waitS };
  return await insist(bridge, { method: "POST", path: "/v1/messages", key, body, isAnswer: hasId, ...wait });
}

const STATES = ["queued", "sending", "retrying", "delivered", "cancelled", "dead"] as const;

function stateOf(answer: Json): MessageState {
  const parts = Array.isArray(answer["parts"]) ? (answer["parts"] as { receipt?: unknown }[]) : [];
  const error = answer["error"] as { code?: unknown; detail?: unknown } | undefined;
  return {
    id: idOf(answer),
    status: STATES.find((one) => one === answer["status"]) ?? "queued",
    uncertain: answer["uncertain"] === true,
    receipts: parts.flatMap(({ receipt }) => (typeof receipt === "string" ? [receipt] : [])),
    delivered: parts.length,
    ...(error && { error: { code: String(error.code), detail: String(error.detail) } }),
  };
}

/** Brings a file to the bridge. `mimeType` is the bridge's finding from the content. Throws what `insist` throws. */
export async function uploadFile(
  bridge: Bridge,
  { buffer, fileName }: { buffer: Uint8Array; fileName: string },
): Promise<{ id: string; mimeType: string }> {
  const body = (): FormData => {
    const form = new FormData();
    // The bridge wants the account before the file.
    form.append("account", bridge.account.bridgeAccount);
    form.append("file", new Blob([new Uint8Array(buffer)]), fileName);
    return form;
  };
  const timeoutMs = UPLOAD_TIMEOUT_MS;
  const answer = await insist(bridge, { method: "POST", path: "/v1/media", body, timeoutMs, isAnswer: hasId });
  return { id: idOf(answer), mimeType: String(answer["mimeType"]) };
}

/** Says that an answer is being worked on, or no longer. Decoration: a failure is nobody's concern. */
export async function sayActivity(bridge: Bridge, inReplyTo: string, state: "working" | "idle"): Promise<void> {
  const body = (): Json => ({ inReplyTo, state });
  const timeoutMs = ACTIVITY_TIMEOUT_MS;
  await tryOnce(bridge, { method: "PUT", path: "/v1/activity", body, timeoutMs, isAnswer: noBody });
}

const idOf = (answer: Json): string => String(answer["id"]);
