import type { Multipart } from "@fastify/multipart";
import type { FastifyRequest } from "fastify";
import { BridgeError, coerceError } from "../domain/errors.ts";

/** What surrounds the file in the body: boundaries, part headers, the other field. */
export const FORM_BYTES = 64 * 1024;

export interface UploadForm {
  account: string | undefined;
  fileName: string | undefined;
  /** To be read once. Throws BridgeError `invalid_request` when the form is cut off or goes on after the file. */
  file: AsyncIterable<Uint8Array>;
}

/**
 * Reads a form up to its file: field `file`, and perhaps `account` before it. Throws BridgeError `invalid_request` that
 * names what is wrong. `maxBytes` is the largest file; of a larger one a byte more than that is given.
 */
export async function readForm(request: FastifyRequest, maxBytes: number): Promise<UploadForm> {
  const parts = request.parts({
    // Two of each, so that the second is refused by its name and not by a count.
    limits: { fileSize: maxBytes + 1, files: 2, fields: 2, parts: 4, fieldSize: 256, headerPairs: 32 },
    isPartAFile: (field, _type, fileName) => field === "file" || fileName !== undefined,
  });
  let account: string | undefined;
  for (;;) {
    const part = await next(parts);
    if (part === undefined) throw invalid("file: the form has no field of this name");
    if (part.fieldname === "file" && part.type === "file") {
      // The parser's type says string; a part without the parameter has none.
      const fileName: string | undefined = part.filename;
      return { account, fileName: fileName === "" ? undefined : fileName, file: toTheEnd(part.file, parts) };
    }
    if (part.fieldname !== "account" || part.type !== "field") throw unexpected(part);
    if (account !== undefined) throw invalid("account: may be there once");
    account = accountOf(part.value, part.valueTruncated);
  }
}

/** The file's bytes; ends well only if the form ends there too. */
async function* toTheEnd(file: AsyncIterable<Uint8Array>, parts: AsyncIterator<Multipart>): AsyncGenerator<Uint8Array> {
  try {
    yield* file;
  } catch (thrown) {
    throw broken(thrown);
  }
  const after = await next(parts);
  if (after === undefined) return;
  if (after.fieldname === "file") throw invalid("file: one file at a time");
  if (after.fieldname === "account") throw invalid("account: must come before the file");
  throw unexpected(after);
}

async function next(parts: AsyncIterator<Multipart>): Promise<Multipart | undefined> {
  try {
    const { value, done } = await parts.next();
    return done ? undefined : value;
  } catch (thrown) {
    throw broken(thrown);
  }
}

function accountOf(value: unknown, truncated: boolean): string {
  if (typeof value !== "string" || value === "" || truncated) throw invalid("account: must be the name of an account");
  return value;
}

function unexpected(part: Multipart): BridgeError {
  if (part.fieldname === "account") return invalid("account: must be a field without a file name");
  return invalid(`${JSON.stringify(part.fieldname ?? "")}: the form has the fields file and, before it, account`);
}

/** Cut off, no boundary, a part without an end: the parser's errors have no status of their own. */
function broken(thrown: unknown): BridgeError {
  const cause = coerceError(thrown);
  return new BridgeError("invalid_request", `body: no complete multipart/form-data: ${cause.message}`, { cause });
}

function invalid(detail: string): BridgeError {
  return new BridgeError("invalid_request", detail);
}
