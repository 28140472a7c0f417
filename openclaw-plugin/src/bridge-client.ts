import type { Account } from "./accounts.ts";
import {
  type Bridge,
  type Json,
  authorization,
  hasId,
  insist,
  noBody,
  readJson,
  reasonOf,
  tryOnce,
  withTimeout,
} from "./bridge-http.ts";

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

/**
 * Hands a message to the bridge and returns the bridge's id for it: from then on it is on the bridge's disk. `key` is one intent to
 * send. Throws what `insist` throws.
 */
export async function sendMessage(
  bridge: Bridge,
  { message, key }: { message: OutboundMessage; key: string },
): Promise<string> {
  const body = (): Json => ({ account: bridge.account.bridgeAccount, ...message });
  return idOf(await insist(bridge, { method: "POST", path: "/v1/messages", key, body, isAnswer: hasId }));
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

/** What the log says about the bridge when the channel starts. */
export async function describeBridge(
  account: Account,
  userAgent: string,
  signal: AbortSignal,
): Promise<{ ok: boolean; text: string }> {
  const at = `bridge at ${account.bridgeUrl}`;
  try {
    const options = { headers: authorization(account, userAgent), signal: withTimeout(signal, 5_000) };
    const status = await fetch(`${account.bridgeUrl}/v1/status`, options);
    if (status.status === 401 || status.status === 403) {
      return {
        ok: false,
        text: `${at} refuses this account's token: use the same App Key and App Secret, or the same BRIDGE_TOKEN, on both sides`,
      };
    }
    const body = await readJson(status);
    if (!status.ok || !body) return { ok: false, text: `${at} answers HTTP ${status.status}: is it dingtalk-bridge?` };
    return { ok: true, text: typeof body["version"] === "string" ? `${at}, version ${body["version"]}` : at };
  } catch (error) {
    signal.throwIfAborted();
    return {
      ok: false,
      text: `no ${at} (${reasonOf(error)}): start it with "npx dingtalk-bridge start"; no message is lost meanwhile`,
    };
  }
}

const idOf = (answer: Json): string => String(answer["id"]);
