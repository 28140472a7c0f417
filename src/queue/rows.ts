import type { SQLOutputValue } from "node:sqlite";
import type { ErrorCode } from "../domain/errors.ts";
import type { Receipt } from "../domain/outcome.ts";
import type { Conversation, Entry, EntryState, LaneHead, Part, QueueName } from "./store.ts";

export type Row = Record<string, SQLOutputValue>;

export const text = (value: SQLOutputValue | undefined): string => String(value ?? "");
export const optional = (value: SQLOutputValue | undefined): string | undefined =>
  value === null || value === undefined ? undefined : String(value);
const receipt = (value: SQLOutputValue | undefined): Receipt | undefined =>
  typeof value === "string" ? (JSON.parse(value) as Receipt) : undefined;

/** A row of `entries` as the type; the column checks of the schema make the casts true. */
export function toEntry(row: Row): Entry {
  const code = optional(row["error_code"]);
  return {
    seq: Number(row["seq"]),
    queue: text(row["queue"]) as QueueName,
    id: text(row["id"]),
    key: text(row["key"]),
    account: text(row["account"]),
    lane: text(row["lane"]),
    kind: text(row["kind"]),
    body: JSON.parse(text(row["body"])),
    digest: optional(row["digest"]),
    createdAt: Number(row["created_at"]),
    state: text(row["state"]) as EntryState,
    begun: row["begun"] === 1,
    attempts: Number(row["attempts"]),
    crashes: Number(row["crashes"]),
    dueAt: Number(row["due_at"]),
    uncertain: row["uncertain"] === 1,
    settledAt: row["settled_at"] === null ? undefined : Number(row["settled_at"]),
    receipt: receipt(row["receipt"]),
    error: code === undefined ? undefined : { code: code as ErrorCode, detail: text(row["error_detail"]) },
  };
}

/** From the columns lane, seq, due_at, crashes. */
export function toHead([lane, seq, dueAt, crashes]: SQLOutputValue[]): LaneHead {
  return { lane: text(lane), seq: Number(seq), dueAt: Number(dueAt), crashes: Number(crashes) };
}

export function toPart(row: Row): Part {
  return { n: Number(row["n"]), body: JSON.parse(text(row["body"])), receipt: receipt(row["receipt"]) };
}

export function toConversation(row: Row): Conversation {
  const url = optional(row["webhook"]);
  return {
    account: text(row["account"]),
    id: text(row["id"]),
    kind: text(row["kind"]) as Conversation["kind"],
    title: optional(row["title"]),
    staffId: optional(row["staff_id"]),
    webhook: url === undefined ? undefined : { url, expiresAt: Number(row["webhook_expires_at"]) },
    lastSeen: Number(row["last_seen"]),
  };
}
