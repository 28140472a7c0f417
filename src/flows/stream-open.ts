import { randomUUID } from "node:crypto";
import { BridgeError } from "../domain/errors.ts";
import type { StreamRow } from "../queue/stream-store.ts";
import type { CardContext } from "./card-context.ts";
import { laneOf } from "./stream-entries.ts";
import { type ReplyFormat, templateOf } from "./stream-settings.ts";

/** A reply that grows, as the API takes it; shapes are checked by the route. */
export interface StreamRequest {
  account?: string;
  to: string;
  inReplyTo?: string;
  idleTimeoutMs?: number;
  format?: ReplyFormat;
}

/**
 * The stream that a request asks for. `always`: as a card whatever the month's budget says. Throws BridgeError `invalid_request`.
 */
export function newStream(
  request: Omit<StreamRequest, "account"> & { account: string },
  context: CardContext,
): { row: StreamRow; always: boolean } {
  const { account, to, inReplyTo } = request;
  const lane = laneOf(account, to);
  if (lane === undefined) throw new BridgeError("invalid_request", "to: must be conversation:<id> or user:<staffId>");
  const settings = context.options.settings(account);
  const format = context.formatOf({ account, to }, request.format);
  const template = format === "auto" || format === "card" ? templateOf(settings) : undefined;
  const always = format === "card";
  const isCard = template !== undefined && context.admits({ account, to, lane }, always);
  const uuid = randomUUID();
  const row: StreamRow = {
    id: `st_${uuid}`,
    account,
    lane,
    to,
    inReplyTo,
    idleMs: Math.min(request.idleTimeoutMs ?? Infinity, settings.idleTimeoutMs),
    mode: isCard ? "card" : "buffered",
    asked: request.format,
    format: format === "text" ? "text" : "markdown",
    outTrackId: `br_${uuid}`,
    templateId: template?.id ?? "",
    templateKey: template?.key ?? "",
    card: "none",
    text: "",
    seq: 0,
    state: "open",
    shownText: "",
    digest: undefined,
    finishedBy: undefined,
    messageId: undefined,
    createdAt: context.options.clock.now(),
    closedAt: undefined,
  };
  return { row, always };
}
