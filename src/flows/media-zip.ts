import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { ZipFile } from "yazl";
import { coerceError } from "../domain/errors.ts";
import { cleanFileName } from "./media-name.ts";

/** Constant, so that the same file gives the same archive and DingTalk's upload of it is found again. */
const MTIME = new Date(2020, 0, 1);

/**
 * The bytes of a zip archive with the file at `path` in it, called `fileName` (its base name). Streamed: nothing is read
 * before it is asked for. The same contents and name give the same bytes. Throws what reading the file throws; ending
 * early closes the file.
 */
export async function* zipOf(path: string, fileName: string): AsyncIterable<Uint8Array> {
  const source = createReadStream(path);
  const zip = new ZipFile();
  // yazl's declaration knows it as the interface only.
  const output = zip.outputStream as Readable;
  const fail = (thrown: unknown): void => void output.destroy(coerceError(thrown));
  // yazl passes no errors on.
  source.on("error", fail);
  zip.on("error", fail);
  try {
    zip.addReadStream(source, cleanFileName(fileName) || "file", { mtime: MTIME, mode: 0o100644 });
    zip.end();
    yield* output as AsyncIterable<Uint8Array>;
  } finally {
    source.destroy();
    output.destroy();
  }
}
