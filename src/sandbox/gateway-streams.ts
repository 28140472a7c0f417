import type { Envelope } from "../domain/envelope.ts";
import type { BridgeAnswer, BridgeCalls } from "./gateway-calls.ts";
import { messageOf } from "./gateway-replies.ts";

export interface GrowingReply {
  envelope: Envelope;
  /** What is added to the text, one after another. An error ends the reply as `failed`, with what there is. */
  deltas: AsyncIterable<string> | Iterable<string>;
  /** Pause after each delta. */
  deltaMs: number;
  /** Ends the reply as `aborted`, with what there is. */
  signal?: AbortSignal;
}

/**
 * Answers through `/v1/streams`: one PUT with the whole text for every delta, then the finish. Where the bridge opens no stream,
 * the text goes out as one message. Resolves with the answer to the last call.
 */
export async function sendStream(calls: BridgeCalls, reply: GrowingReply): Promise<BridgeAnswer | undefined> {
  const { envelope } = reply;
  const { account, id: inReplyTo } = envelope;
  const to = envelope.reply?.to;
  // An answer that was lost leaves an empty stream behind, which ends without a trace: the call may be repeated.
  const opened = await calls.insist({ account, method: "POST", path: "/v1/streams", json: { account, to, inReplyTo } });
  if (!opened) return undefined;
  const { id } = opened.body;
  const path = opened.ok && typeof id === "string" ? `/v1/streams/${id}` : undefined;
  const { text, outcome } = await grow(calls, reply, path);
  if (calls.closed) return undefined;
  if (path === undefined) return calls.insist(messageOf(envelope, { type: "markdown", text }));
  const json = { text, outcome, account, to, inReplyTo };
  return calls.insist({ account, method: "POST", path: `${path}/finish`, json });
}

async function grow(
  calls: BridgeCalls,
  { envelope: { account }, deltas, deltaMs, signal }: GrowingReply,
  path: string | undefined,
): Promise<{ text: string; outcome: "done" | "failed" | "aborted" }> {
  let text = "";
  let seq = 0;
  let takesUpdates = path !== undefined;
  try {
    for await (const delta of deltas) {
      if (calls.closed || signal?.aborted) break;
      text += delta;
      if (path !== undefined && takesUpdates) {
        // A failed update is not repeated: the next one carries all of the text. A closed stream takes none.
        const answer = await calls.once({ account, method: "PUT", path, json: { seq: seq++, text } });
        takesUpdates = !answer?.final || answer.ok;
      }
      if (deltaMs > 0) await calls.pause(deltaMs, signal);
    }
  } catch {
    return { text, outcome: "failed" };
  }
  return { text, outcome: signal?.aborted ? "aborted" : "done" };
}
