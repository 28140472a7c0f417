import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { FileBody } from "./dingtalk-errors.ts";
import type { Timers } from "./dingtalk-timers.ts";

/** How the body of an answer is spoilt, see `ApiFault`. */
export type Spoilt = { kind: "whole" | "truncated" | "shortBody" | "stall" } | { kind: "slowBody"; overMs: number };

/** Of a stream of unknown length this much is its half. */
const HALF_OF_UNKNOWN = 1_000;

/** Length that the answer's header states. */
export function statedLength({ bytes }: FileBody, { kind }: Spoilt): number | undefined {
  return kind === "truncated" ? halfOf(bytes) : bytes;
}

/** Sends the body behind headers that are written already. Holds one chunk at a time; ends its source whatever happens. */
export async function sendBody(raw: ServerResponse, body: FileBody, spoilt: Spoilt, timers: Timers): Promise<void> {
  const isCut = spoilt.kind !== "whole" && spoilt.kind !== "slowBody";
  const limit = isCut ? halfOf(body.bytes) : (body.bytes ?? Number.POSITIVE_INFINITY);
  const isOpenEnd = spoilt.kind === "shortBody" || spoilt.kind === "stall";
  raw.flushHeaders();
  try {
    const chunks = limit === 0 ? [] : portion(body.open(), body.skip, limit);
    const paced = spoilt.kind === "slowBody" ? slowly(chunks, limit, spoilt.overMs, timers) : chunks;
    await pipeline(Readable.from(paced, { objectMode: false }), raw, { end: !isOpenEnd });
  } catch {
    // The caller went, or a test's stream failed: either way the connection is gone, which is what the caller sees.
    return;
  }
  // Let the half arrive before the end.
  if (spoilt.kind === "shortBody") timers.after(5, () => raw.req.socket.destroy());
}

const halfOf = (bytes: number | undefined): number =>
  bytes === undefined ? HALF_OF_UNKNOWN : Math.max(Math.floor(bytes / 2), 0);

/** At most `limit` bytes behind the first `skip`; the source ends as soon as the rest is not needed. */
async function* portion(source: Readable, skip: number, limit: number): AsyncGenerator<Buffer> {
  let toSkip = skip;
  let left = limit;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    const rest = chunk.subarray(Math.min(toSkip, chunk.length), Math.min(chunk.length, toSkip + left));
    toSkip = Math.max(0, toSkip - chunk.length);
    if (rest.length === 0) continue;
    left -= rest.length;
    yield rest;
    if (left <= 0) return;
  }
}

const STEPS = 20;

/** The same bytes over `overMs`, in about 20 steps. */
async function* slowly(
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  bytes: number,
  overMs: number,
  timers: Timers,
): AsyncGenerator<Buffer> {
  const step = Number.isFinite(bytes) ? Math.max(1, Math.ceil(bytes / STEPS)) : HALF_OF_UNKNOWN;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += step) {
      yield chunk.subarray(at, at + step);
      await new Promise<void>((resolve) => void timers.after(overMs / STEPS, resolve));
    }
  }
}
