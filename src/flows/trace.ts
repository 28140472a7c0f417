import { normaliseMessage } from "../dingtalk/normalise.ts";
import { type Life, LifeReader } from "../queue/life.ts";
import { ERASED, splitLane } from "../queue/store.ts";
import type { StoredPush } from "./envelopes.ts";
import type { OutboundContent } from "./outbound-content.ts";
import { type TimedStep, inboxSteps, outboxSteps, streamSteps } from "./trace-steps.ts";

/** What somebody wants to see. */
export interface TraceQuery {
  /** Id of an envelope, of a message or of a growing reply; DingTalk's id of a message; a staffId; `user:…`, `conversation:…`. */
  id?: string;
  /** At most so many messages, the newest. */
  last: number;
  /** With what was said; without it only ids and times leave the store. */
  withText: boolean;
  /** Accounts that the bridge serves; what waits for another one says so. */
  served?: readonly string[];
}

/** One step in the life of a message. */
export interface TraceStep {
  /** ISO 8601; null when the store does not know. */
  at: string | null;
  /** Milliseconds since the step before; null where one of the two is not known. */
  sinceMs: number | null;
  step: string;
  detail: string;
  /** The entry that the step belongs to: the message itself or a reply. */
  of: string;
}

/** The life of one message, with that of the replies to it. */
export interface Trace {
  id: string;
  /** Which way it went: from DingTalk, or to it. */
  direction: "in" | "out";
  account: string;
  kind: string;
  state: Life["state"];
  /** staffId, else DingTalk's encrypted id. */
  sender: string | null;
  /** `conversation:<id>` or `user:<staffId>`; null when it is not known any more. */
  conversation: string | null;
  /** With `withText` only; null when it is not kept any more. */
  text?: string | null;
  steps: TraceStep[];
  replies: { id: string; kind: string; state: Life["state"]; text?: string | null }[];
}

/**
 * Reads the lives of messages from a data directory, beside a running bridge or without one; nothing is changed. Undefined when there is
 * no database. Oldest first. Throws BridgeError `schema_newer`, `schema_older`, and what SQLite throws.
 */
export function storedTraces(config: { dataDir: string }, query: TraceQuery): Trace[] | undefined {
  using reader = LifeReader.open(config.dataDir);
  return reader && find(reader, query).map((life) => traceOf(reader, life, query));
}

function find(reader: LifeReader, { id, last }: TraceQuery): Life[] {
  if (id === undefined) return reader.last(last).toReversed();
  const [, kind, rest = ""] = /^(user|conversation):(.+)$/s.exec(id) ?? [];
  const exact = reader.byId(id);
  if (exact.length > 0) return exact.flatMap((life) => rootsOf(reader, life));
  const answered = reader.stream(id)?.inReplyTo;
  if (answered !== undefined) return reader.byId(answered);
  const whose =
    kind === undefined ? { kind: "user" as const, id } : { kind: kind as "user" | "conversation", id: rest };
  return reader.of(whose, last).toReversed();
}

/** A reply is shown within the life of what it answers, as long as that is kept. */
function rootsOf(reader: LifeReader, life: Life): Life[] {
  const [root] = life.inReplyTo === undefined ? [] : reader.byId(life.inReplyTo);
  return [root ?? life];
}

function traceOf(reader: LifeReader, life: Life, { withText, served }: TraceQuery): Trace {
  const replies = life.queue === "inbox" ? reader.repliesTo(life.id) : [];
  const own = life.queue === "inbox" ? inboxSteps(life) : outboxSteps(life, reader.parts(life.seq));
  const others = replies.flatMap((reply) => outboxSteps(reply, reader.parts(reply.seq)));
  const streams = life.queue === "inbox" ? reader.streamsOf(life.id).flatMap(streamSteps) : [];
  return {
    id: life.id,
    direction: life.queue === "inbox" ? "in" : "out",
    account: life.account,
    kind: life.kind,
    state: life.state,
    sender: life.sender ?? null,
    conversation: conversationOf(life),
    ...(withText && { text: textOf(reader, life) }),
    steps: inOrder([...own, ...streams, ...others]).map((step) => pausedStep(step, life.account, served)),
    replies: replies.map((reply) => ({
      id: reply.id,
      kind: reply.kind,
      state: reply.state,
      ...(withText && { text: textOf(reader, reply) }),
    })),
  };
}

function pausedStep(step: TraceStep, account: string, served: readonly string[] | undefined): TraceStep {
  if (step.step !== "waits" || !served || served.includes(account)) return step;
  return { ...step, detail: `account_paused: account ${account} is not configured, or disabled` };
}

function conversationOf({ lane }: Life): string | null {
  const { conversationId, staffId } = splitLane(lane);
  if (staffId !== undefined) return `user:${staffId}`;
  // Of a card, or of what was erased.
  return conversationId === "" || conversationId === ERASED ? null : `conversation:${conversationId}`;
}

/** A step without a time stays behind the one before it. */
function inOrder(steps: readonly TimedStep[]): TraceStep[] {
  let known = 0;
  const placed = steps.map((step) => {
    known = step.at ?? known;
    return { step, place: known };
  });
  let before: number | undefined;
  return placed
    .toSorted((a, b) => a.place - b.place)
    .map(({ step: { at, ...step } }) => {
      const sinceMs = at === undefined || before === undefined ? null : at - before;
      before = at ?? before;
      return { at: at === undefined ? null : new Date(at).toISOString(), sinceMs, ...step };
    });
}

function textOf(reader: LifeReader, life: Life): string | null {
  if (life.queue === "outbox") {
    const parts = reader.parts(life.seq).map(({ body }) => wordsOf(body as OutboundContent));
    const { text } = (life.body ?? {}) as { text?: string };
    const words = [...(text === undefined ? [] : [text]), ...parts.filter((part) => part !== undefined)];
    return words.length === 0 ? null : words.join("\n\n");
  }
  const { data, receivedAt } = (life.body ?? {}) as Partial<StoredPush>;
  if (life.kind !== "message" || !data) return null;
  const context = { account: life.account, robotCode: "", receivedAt: receivedAt ?? life.createdAt };
  return normaliseMessage(data, context).message.text;
}

function wordsOf(content: OutboundContent): string | undefined {
  if ("text" in content) return content.text;
  return content.type === "card" || content.type === "card.update" ? JSON.stringify(content.params) : undefined;
}
