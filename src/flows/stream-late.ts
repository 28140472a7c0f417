import { digestOf } from "../domain/canonical.ts";
import { BridgeError } from "../domain/errors.ts";
import type { StreamRow } from "../queue/stream-store.ts";
import type { QueueStore } from "../queue/store.ts";
import { chooseAccount } from "./account-choice.ts";
import type { CardContext } from "./card-context.ts";
import type { Messages, Scope } from "./messages.ts";
import type { FinishRequest, Finished } from "./stream-close.ts";
import { isBlank } from "./stream-ending.ts";
import { keyOf } from "./stream-entries.ts";
import { viewOf } from "./views.ts";

export interface LateOptions {
  store: QueueStore;
  context: CardContext;
  messages: Pick<Messages, "accept">;
  accounts: () => string[];
}

/** A finish of a stream that is closed, or that nobody knows (any more). */
export class LateFinish {
  readonly #options: LateOptions;

  constructor(options: LateOptions) {
    this.#options = options;
  }

  /** See `Streams.finish`. `row`: the closed stream. */
  async finish(id: string, row: StreamRow | undefined, request: FinishRequest, scope: Scope): Promise<Finished> {
    if (row?.finishedBy === "gateway") {
      if (row.digest !== digestOf(request)) throw closed();
      return this.#before(row);
    }
    const to = request.to ?? row?.to;
    if (to === undefined) {
      throw new BridgeError(
        "stream_unknown",
        `there is no stream ${JSON.stringify(id)}; "to" says where its text goes`,
      );
    }
    if (isBlank(request.text)) return { id: row?.messageId ?? id, duplicate: false, status: "delivered" };
    // All of it was sent when the stream was left.
    if (row && row.text.trim() === request.text.trim()) return this.#before(row);
    return this.#asMessage(id, { row, to, request, scope });
  }

  /** Once: the stream's id is its key. */
  async #asMessage(
    id: string,
    { row, to, request, scope }: { row: StreamRow | undefined; to: string; request: FinishRequest; scope: Scope },
  ): Promise<Finished> {
    const { messages, context, accounts } = this.#options;
    const { mentions, text } = request;
    const inReplyTo = request.inReplyTo ?? row?.inReplyTo;
    const named = request.account ?? row?.account;
    const account = chooseAccount({ account: named, inReplyTo }, scope, accounts());
    const type = row?.format ?? (context.formatOf({ account, to }) === "text" ? "text" : "markdown");
    const message = {
      account,
      to,
      ...(inReplyTo !== undefined && { inReplyTo }),
      ...(mentions && { mentions }),
      content: { type, text },
    };
    const accepted = await messages.accept(message, { scope, idempotencyKey: keyOf(id) }).catch((thrown: unknown) => {
      throw thrown instanceof BridgeError && thrown.code === "idempotency_key_reused" ? closed(thrown) : thrown;
    });
    return { id: accepted.id, duplicate: accepted.duplicate, status: accepted.status };
  }

  #before({ id, messageId = id }: StreamRow): Finished {
    const { store } = this.#options;
    const entry = store.find("outbox", messageId);
    const status = entry ? viewOf(entry, store.parts(entry.seq)).status : "delivered";
    return { id: messageId, duplicate: true, status };
  }
}

function closed(cause?: unknown): BridgeError {
  return new BridgeError("stream_closed", "the stream was finished before, with another body", { cause });
}
