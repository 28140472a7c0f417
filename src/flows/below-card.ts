import type { Outcome } from "../domain/outcome.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { AfterCard } from "../queue/card-texts.ts";
import type { Entry, QueueStore } from "../queue/store.ts";
import { later } from "./outbound-roads.ts";
import { type FilesIn, cardFinishOf, keyOf, messageEntry } from "./stream-entries.ts";

export interface BelowCardOptions {
  store: QueueStore;
  filesIn: FilesIn;
  onAppended: (lane: string) => void;
  /** What this entry waited for is there. */
  hurry: (lane: string, seq: number) => void;
  clock: Clock;
  logger: Logger;
}

const AGAIN_MS = { least: 100, most: 2_000 } as const;

/**
 * The rest of a text that is too long for its card. It keeps its place in the conversation and waits there until the card has come to
 * its end: then the card shows what comes before it, or the rest says that too, first.
 */
export class BelowCard {
  readonly #options: BelowCardOptions;
  readonly #patienceMs: number;

  /** `patienceMs`: how long somebody waits for a text because cards do not work just now. */
  constructor(options: BelowCardOptions, patienceMs: number) {
    this.#options = options;
    this.#patienceMs = patienceMs;
  }

  /** Undefined once the message may be sent. */
  async deliver(entry: Entry): Promise<Outcome | undefined> {
    const { store, clock } = this.#options;
    const after = afterCardOf(entry);
    if (after?.state !== "waits") return undefined;
    const finish = store.repeated("outbox", keyIn(entry, after.streamId, "card"));
    if (finish?.state !== "open" || this.isSaid(finish)) {
      await store.cardTexts.follow(entry.seq);
      return undefined;
    }
    const waited = Math.max(0, clock.now() - finish.createdAt);
    // Its own lane may not even get to try: the door to the cards is shut.
    if (waited > this.#patienceMs && (await this.#say(finish, "pacing", finish.key))) return undefined;
    const again = Math.min(AGAIN_MS.most, Math.max(AGAIN_MS.least, waited));
    return later("pacing", "waits for the end of the card above it", again);
  }

  /** The text of the card goes out, or went out, as a message. */
  isSaid(finish: Entry): boolean {
    const { store } = this.#options;
    const { messageId } = cardFinishOf(finish);
    return store.find("outbox", messageId) !== undefined || afterCardOf(this.#rest(finish))?.state === "leads";
  }

  /** Sends the text of the card as a message, above what waits for it. Once, however often it is asked for. */
  async say(finish: Entry, reason: string): Promise<void> {
    await this.#say(finish, reason);
  }

  /** The card has come to its end, or never will. */
  ended(finish: Entry): void {
    const rest = this.#rest(finish);
    if (rest?.state === "open") this.#options.hurry(rest.lane, rest.seq);
  }

  async #say(finish: Entry, reason: string, unlessBegun?: string): Promise<boolean> {
    const { store, filesIn, onAppended, hurry, clock, logger } = this.#options;
    const { account, id } = finish;
    const { to, inReplyTo, format, streamId, mentions, text, messageId } = cardFinishOf(finish);
    const draft = { id: messageId, key: keyOf(streamId, "text"), text, mentions, at: clock.now() };
    const alone = messageEntry({ account, to, inReplyTo, format }, draft, filesIn);
    const said = await store.cardTexts.instead(alone, restKeys(finish), unlessBegun);
    if (!said) return false;
    if (said.duplicate) return true;
    logger.warn(
      { account, streamId, entryId: id, messageId: said.id, reason },
      "the card cannot show the answer: it is sent as a message",
    );
    onAppended(said.lane);
    hurry(said.lane, said.seq);
    return true;
  }

  /** The message below the card, if its reply has one. */
  #rest(finish: Entry): Entry | undefined {
    const entries = restKeys(finish).flatMap((key) => this.#options.store.repeated("outbox", key) ?? []);
    return entries.find((entry) => afterCardOf(entry) !== undefined);
  }
}

function afterCardOf(entry: Entry | undefined): AfterCard | undefined {
  return (entry?.body as { afterCard?: AfterCard } | undefined)?.afterCard;
}

const keyIn = ({ account }: Entry, streamId: string, part?: "card" | "cut"): string =>
  `${account}\n${keyOf(streamId, part)}`;

function restKeys(finish: Entry): string[] {
  const { streamId } = cardFinishOf(finish);
  return [keyIn(finish, streamId), keyIn(finish, streamId, "cut")];
}
