import { digestOf } from "../domain/canonical.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { FinishedBy } from "../queue/stream-store.ts";
import type { QueueStore } from "../queue/store.ts";
import type { LiveCard } from "./live-card.ts";
import type { Mentions } from "./outbound-content.ts";
import { isBlank } from "./stream-ending.ts";
import type { FilesIn, StreamOutcome } from "./stream-entries.ts";
import type { MessageView } from "./views.ts";

/** The end of a stream, as the API takes it; its shape is checked by the route. */
export interface FinishRequest {
  text: string;
  outcome: StreamOutcome;
  account?: string;
  to?: string;
  inReplyTo?: string;
  mentions?: Mentions;
}

export interface Finished {
  /** Of the outbox entry that says the text, or the last of it; the stream's own where nothing had to be sent. */
  id: string;
  duplicate: boolean;
  status: MessageView["status"];
}

export interface CloseOptions {
  store: QueueStore;
  filesIn: FilesIn;
  /** Stands below a text that its gateway left; "" where nothing is to be said. */
  interrupted: string;
  /** What a card says whose text goes out as a message. */
  seeNext: string;
  onAppended: (lane: string) => void;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

/**
 * Stores the end of a stream with all that has to be sent for it, in one commit. Undefined when it was closed already. A rejection
 * leaves it open.
 */
export async function closeStream(
  card: LiveCard,
  { finishedBy, request }: { finishedBy: FinishedBy; request?: FinishRequest },
  options: CloseOptions,
): Promise<Finished | undefined> {
  const { store, interrupted, seeNext, filesIn, onAppended, clock, logger, metrics } = options;
  const { id, account, createdAt, inReplyTo } = card.row;
  const at = clock.now();
  const { text, outcome = "aborted", mentions } = request ?? {};
  try {
    const ending = await card.end({ text, outcome, mentions, note: interrupted, seeNext, at }, filesIn);
    const { entries, messageId, card: state } = ending;
    const change = {
      text: text !== undefined && !isBlank(text) ? text : card.text,
      digest: request && digestOf(request),
      finishedBy,
      card: state,
      ...(messageId !== undefined && { messageId }),
      at,
    };
    const appended = await store.streams.close(id, change, entries);
    if (!appended) return undefined;
    for (const { lane } of appended) onAppended(lane);
    const shown =
      card.isFilled || state === "finished" || state === "creating" ? "card" : messageId ? "message" : "nothing";
    metrics.repliesEnded.inc({ account, by: finishedBy, shown });
    logger.info(
      {
        account,
        streamId: id,
        inReplyTo,
        finishedBy,
        outcome,
        shown,
        card: state,
        // Of its card, the last one apart.
        calls: card.calls,
        characters: change.text.length,
        ms: Math.max(0, at - createdAt),
        entries: entries.length,
      },
      "a reply that grew has ended",
    );
    return { id: messageId ?? id, duplicate: false, status: messageId === undefined ? "delivered" : "queued" };
  } catch (thrown) {
    card.reopen();
    throw thrown;
  }
}
