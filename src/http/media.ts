import { access, open } from "node:fs/promises";
import { Readable } from "node:stream";
import multipart from "@fastify/multipart";
import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import type { FastifyReply, FastifyRequest } from "fastify";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { contentDisposition, isInlineSafe } from "../flows/media-name.ts";
import type { Media, MediaFile } from "../flows/media.ts";
import { BODY_MS } from "./body.ts";
import { problemOf, sendProblem } from "./problem.ts";
import { isUnchanged, rangeOf } from "./ranges.ts";
import { FileBytes, MediaInfo, UploadBody } from "./schemas-media.ts";
import { Id, ProblemSchema } from "./schemas.ts";
import { FORM_BYTES, readForm } from "./upload-form.ts";

/** The slowest line that an upload still works over: half a megabit. */
const SLOWEST_BYTES_PER_S = 64 * 1024;

/** How long an upload may take: what any call has, and the time that the largest file needs on a slow line. */
export const uploadMs = (maxBytes: number): number => BODY_MS + Math.ceil((maxBytes * 1_000) / SLOWEST_BYTES_PER_S);

/** `POST /v1/media`, `GET` and `HEAD /v1/media/:id` (design §6, §8). */
export const mediaRoutes: FastifyPluginAsyncTypebox<{ media: Media }> = async (app, { media }) => {
  await app.register(multipart);

  app.post(
    "/v1/media",
    {
      config: { bodyMs: uploadMs(media.maxBytes) },
      schema: {
        summary: "Upload a file to be sent later",
        description:
          "201 once it is stored; its `id` then stands in the `media` of messages. One file, in the field `file`; " +
          "`account`, where it is needed, comes before it.",
        consumes: ["multipart/form-data"],
        body: UploadBody,
        response: { 201: MediaInfo, "4xx": ProblemSchema, "5xx": ProblemSchema },
      },
      // The schema is for the document: the form is never in memory.
      validatorCompiler: () => () => true,
      onRequest: async (request, reply) => {
        if (/^multipart\/form-data\b/i.test(request.headers["content-type"] ?? "")) return;
        const detail = "content-type: must be multipart/form-data, with the file in the field `file`";
        await sendProblem(reply, problemOf("invalid_request", detail, { status: 415 }));
      },
    },
    async (request, reply) => {
      try {
        const file = await take(request, reply, media);
        return await reply.status(201).header("location", `/v1/media/${file.id}`).send(infoOf(file));
      } catch (thrown) {
        if (!(thrown instanceof BridgeError) || thrown.code !== "media_too_large") throw thrown;
        const mend = "BRIDGE_MEDIA_MAX_MB sets the bound; DingTalk itself takes no more than 20 MB";
        await sendProblem(reply, problemOf(thrown.code, thrown.message, { status: 413, mend }));
        return reply;
      }
    },
  );

  app.get(
    "/v1/media/:id",
    {
      schema: {
        summary: "A file: one that came with a message, or was uploaded",
        description:
          "`Range` (one range), `If-None-Match` and `If-Range` are obeyed; the `ETag` is the SHA-256 of the content. What a " +
          "browser might run is always an attachment.",
        params: Id,
        response: { 200: FileBytes, 206: FileBytes, "4xx": ProblemSchema },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const file = media.find(id, request.scope) ?? missing(id);
      return serve(file, media.pathOf(file), request, reply);
    },
  );
};

async function take(request: FastifyRequest, reply: FastifyReply, media: Media): Promise<MediaFile> {
  const { maxBytes } = media;
  if (Number(request.headers["content-length"] ?? 0) > maxBytes + FORM_BYTES) {
    throw new BridgeError("media_too_large", `the file is larger than ${maxBytes} bytes`);
  }
  const { file, ...about } = await readForm(request, maxBytes);
  return media.upload(file, { ...about, scope: request.scope, signal: abandoned(reply) });
}

/** Fires when the connection ends before the answer is out. */
function abandoned(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort(new BridgeError("invalid_request", "the caller is gone"));
  });
  return controller.signal;
}

function infoOf({ id, mimeType, bytes, fileName, durationMs }: MediaFile) {
  return {
    id,
    mimeType,
    bytes,
    ...(fileName !== undefined && { fileName }),
    ...(durationMs !== undefined && { durationMs }),
  };
}

async function serve(
  file: MediaFile,
  path: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { id, bytes, mimeType } = file;
  const etag = `"${file.sha256}"`;
  // What is behind an id never changes.
  const lasting = { etag, "cache-control": "private, max-age=86400" };
  if (isUnchanged(request.headers["if-none-match"], etag)) return reply.status(304).headers(lasting).send();
  const range = rangeOf(request.headers, bytes, etag);
  if (range === "unsatisfiable") {
    reply.header("content-range", `bytes */${bytes}`);
    await sendProblem(reply, problemOf("invalid_request", `Range: the file has ${bytes} bytes`, { status: 416 }));
    return reply;
  }
  const { start, end } = range ?? { start: 0, end: bytes - 1 };
  // Before anything is said: the file may have expired since its row was read.
  const body = await (request.method === "HEAD" ? access(path) : open(path)).catch(gone(id));
  if (range) reply.status(206).header("content-range", `bytes ${start}-${end}/${bytes}`);
  return reply
    .headers({
      ...lasting,
      "accept-ranges": "bytes",
      "content-length": end - start + 1,
      "content-disposition": contentDisposition(file.fileName ?? id, isInlineSafe(mimeType)),
      "content-security-policy": "sandbox; default-src 'none'",
      "x-content-type-options": "nosniff",
    })
    .type(mimeType)
    .send(body?.createReadStream({ start, end }) ?? Readable.from([]));
}

const gone =
  (id: string) =>
  (thrown: unknown): never => {
    const error = coerceError(thrown);
    if ("code" in error && error.code === "ENOENT") missing(id);
    throw error;
  };

function missing(id: string): never {
  throw new BridgeError("not_found", `there is no file ${JSON.stringify(id)} (any more)`);
}
