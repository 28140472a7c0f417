import type { ErrorCode } from "../domain/errors.ts";
import type { Receipt } from "../domain/outcome.ts";
import type { Entry, Part } from "../queue/store.ts";
import type { OutboundContent } from "./outbound-content.ts";

/** A message as `GET /v1/messages/:id` shows it. */
export interface MessageView {
  id: string;
  account: string;
  status: "queued" | "sending" | "retrying" | "delivered" | "cancelled" | "dead";
  /** Some attempt ended without an answer: DingTalk may have it twice. */
  uncertain?: true;
  attempts: number;
  /** Of a message that makes or updates a card: what later updates name it by. */
  outTrackId?: string;
  parts: { route: Receipt["route"]; receipt?: string; at: string }[];
  /** Of a message that is not delivered as a whole: how many of how many parts were. */
  deliveredParts?: string;
  error?: { code: ErrorCode; detail: string };
}

export function viewOf(entry: Entry, parts: Part[]): MessageView {
  const delivered = parts.flatMap(({ receipt }) => (receipt ? [receipt] : []));
  return {
    id: entry.id,
    account: entry.account,
    status: statusOf(entry),
    ...(entry.uncertain && { uncertain: true as const }),
    attempts: entry.attempts,
    ...outTrackIdOf(parts),
    parts: delivered.map(({ route, processQueryKey, at }) => ({
      route,
      ...(processQueryKey !== undefined && { receipt: processQueryKey }),
      at: new Date(at).toISOString(),
    })),
    ...(parts.length > 1 &&
      entry.state !== "delivered" && { deliveredParts: `${delivered.length} of ${parts.length}` }),
    ...(entry.error && { error: entry.error }),
  };
}

/** Of a message with these parts; nothing for one without a card. */
export function outTrackIdOf(parts: readonly { body: unknown }[]): { outTrackId?: string } {
  const first = parts[0]?.body as OutboundContent | undefined;
  return first?.type === "card" || first?.type === "card.update" ? { outTrackId: first.outTrackId } : {};
}

function statusOf(entry: Entry): MessageView["status"] {
  if (entry.state !== "open") return entry.state;
  if (entry.begun) return "sending";
  return entry.error ? "retrying" : "queued";
}

/** A dead letter of either queue as the operator's list shows it. */
export interface DeadLetterView {
  id: string;
  queue: Entry["queue"];
  account: string;
  kind: string;
  error: { code: ErrorCode; detail: string };
  attempts: number;
  uncertain: boolean;
  createdAt: string;
  deadAt: string;
  /** Pass it as `before` to go on. */
  cursor: number;
}

export function deadLetterOf(entry: Entry): DeadLetterView {
  return {
    id: entry.id,
    queue: entry.queue,
    account: entry.account,
    kind: entry.kind,
    error: entry.error ?? { code: "internal", detail: "" },
    attempts: entry.attempts,
    uncertain: entry.uncertain,
    createdAt: new Date(entry.createdAt).toISOString(),
    deadAt: new Date(entry.settledAt ?? entry.createdAt).toISOString(),
    cursor: entry.seq,
  };
}
