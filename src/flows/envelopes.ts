import type { Account } from "../domain/account.ts";
import type { EnvelopeMessage, MediaPart, MediaRef, MessageEnvelope, MessagePart, Quote } from "../domain/envelope.ts";
import type { MediaReference } from "../dingtalk/draft.ts";
import { compact } from "../dingtalk/json.ts";
import { type NormalisedMessage, buildEnvelope, normaliseMessage } from "../dingtalk/normalise.ts";
import type { Clock } from "../ops/clock.ts";
import type { FetchResult, MediaFile } from "../queue/media-store.ts";
import type { Entry, QueueStore } from "../queue/store.ts";
import { completeQuote } from "./quotes.ts";

/** What an inbox entry holds: the push as it came, less the webhook, so that normalising can be mended later. */
export interface StoredPush {
  data: Record<string, unknown>;
  receivedAt: number;
}

export interface EnvelopesOptions {
  store: Pick<QueueStore, "find" | "media" | "sentMessage">;
  includeRaw: boolean;
  /** How the gateway reaches the bridge: the beginning of media links, without a slash at the end. */
  publicUrl: () => string;
  clock: Clock;
}

/** Makes envelopes of stored messages. */
export class Envelopes {
  readonly #options: EnvelopesOptions;

  constructor(options: EnvelopesOptions) {
    this.#options = options;
  }

  /** Undefined while files of the message are outstanding. */
  message(entry: Entry, account: Account): MessageEnvelope | undefined {
    const normalised = this.#normalise(entry, account, this.#options.includeRaw);
    const message = this.#withFiles(entry.seq, normalised);
    if (!message) return undefined;
    const quote = message.quote && this.#completed(message.quote, entry, account);
    const complete = { ...normalised, message: compact({ ...message, quote }) };
    return buildEnvelope(complete, { attempt: entry.attempts + 1, now: this.#options.clock.now() });
  }

  #normalise(entry: Entry, account: Account, includeRaw: boolean): NormalisedMessage {
    const { data, receivedAt } = entry.body as StoredPush;
    return normaliseMessage(data, { account: account.name, robotCode: account.robotCode, receivedAt, includeRaw });
  }

  /** Undefined while a file is outstanding. */
  #withFiles(seq: number, { message, references }: NormalisedMessage): EnvelopeMessage | undefined {
    if (references.length === 0) return message;
    const fetches = this.#options.store.media.fetchesOf(seq);
    if (fetches.some(({ result }) => result === undefined)) return undefined;
    // By code, because a part that is read otherwise by a later release may have another place.
    const results = new Map(fetches.map(({ downloadCode, result }) => [downloadCode, result]));
    const byPath = new Map(references.map(({ path, downloadCode }) => [keyOf(path), results.get(downloadCode)]));
    return fillMessage(message, (part, path) => this.#filled(part, byPath.get(keyOf(path))));
  }

  #filled(part: MediaPart, result: FetchResult | undefined): MediaPart {
    if (!result) return part;
    if ("error" in result) return { ...part, error: result.error };
    const { media } = result;
    const { type, recognition, fileName = media.fileName, durationMs = media.durationMs } = part;
    const shown = { ...media, fileName: media.fileName ?? fileName, durationMs: media.durationMs ?? durationMs };
    return compact({ type, media: this.#ref(shown), recognition, fileName, durationMs });
  }

  #ref({ id, mimeType, bytes, fileName, durationMs }: MediaFile): MediaRef {
    return compact({ id, url: `${this.#options.publicUrl()}/v1/media/${id}`, mimeType, bytes, fileName, durationMs });
  }

  #completed(quote: Quote, entry: Entry, account: Account): Quote {
    const { store } = this.#options;
    return completeQuote(quote, {
      sent: (key) => store.sentMessage(account.name, key),
      file: (mediaId) => {
        const file = store.media.find(mediaId);
        return file?.account === account.name ? this.#ref(file) : undefined;
      },
      said: (messageId) => {
        const quoted = store.find("inbox", `${account.name}:${messageId}`);
        if (quoted?.kind !== "message" || quoted.body === null || conversationIdOf(quoted) !== conversationIdOf(entry))
          return undefined;
        const normalised = this.#normalise(quoted, account, false);
        return this.#withFiles(quoted.seq, normalised) ?? normalised.message;
      },
    });
  }
}

const keyOf = (path: MediaReference["path"]): string => path.join("/");

/** Nobody is shown a message of another conversation, whatever a client says that it quotes. */
const conversationIdOf = (entry: Entry): unknown => (entry.body as StoredPush).data["conversationId"];

type Fill = (part: MediaPart, path: readonly (string | number)[]) => MediaPart;

function fillParts(parts: readonly MessagePart[], path: readonly string[], fill: Fill): MessagePart[] {
  return parts.map((part, index) => (part.type === "text" ? part : fill(part, [...path, index])));
}

function fillMessage(message: EnvelopeMessage, fill: Fill): EnvelopeMessage {
  const { quote } = message;
  return {
    ...message,
    parts: fillParts(message.parts, ["parts"], fill),
    ...(quote && { quote: fillQuote(quote, fill) }),
  };
}

function fillQuote(quote: Quote, fill: Fill): Quote {
  const { quote: inner } = quote;
  return {
    ...quote,
    parts: fillParts(quote.parts, ["quote", "parts"], fill),
    ...(inner && { quote: { ...inner, parts: fillParts(inner.parts, ["quote", "quote", "parts"], fill) } }),
  };
}
