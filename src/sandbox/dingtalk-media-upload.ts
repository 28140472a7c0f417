import { createHash } from "node:crypto";
import type { FastifyRequest } from "fastify";

/** The part `media` of an upload, read to its end. */
export interface UploadBody {
  fileName: string;
  mimeType: string;
  bytes: number;
  sha256: string;
  data: Buffer | undefined;
}

/** A multipart request, read to its end. `type` is the form field of that name. */
export interface UploadForm {
  media: UploadBody | undefined;
  type: string | undefined;
  /** Files under other names. */
  strangers: string[];
}

/** Larger files are not kept: a measurement of the client's memory must not find ours. */
const KEPT_BYTES = 1024 * 1024;

/** Reads a multipart body without holding it. @throws when it breaks off or is not multipart */
export async function readUpload(request: FastifyRequest): Promise<UploadForm> {
  const form: UploadForm = { media: undefined, type: undefined, strangers: [] };
  for await (const part of request.parts({ limits: { fileSize: Number.POSITIVE_INFINITY } })) {
    if (part.type === "field") {
      if (part.fieldname === "type" && typeof part.value === "string") form.type = part.value;
      continue;
    }
    const read = await digest(part.file);
    if (part.fieldname === "media") form.media = { fileName: part.filename, mimeType: part.mimetype, ...read };
    else form.strangers.push(part.fieldname);
  }
  return form;
}

async function digest(file: AsyncIterable<Buffer>): Promise<Pick<UploadBody, "bytes" | "sha256" | "data">> {
  const hash = createHash("sha256");
  let kept: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of file) {
    hash.update(chunk);
    bytes += chunk.length;
    if (bytes <= KEPT_BYTES) kept.push(chunk);
    else kept = [];
  }
  const data = bytes <= KEPT_BYTES ? Buffer.concat(kept) : undefined;
  return { bytes, sha256: hash.digest("hex"), data };
}
