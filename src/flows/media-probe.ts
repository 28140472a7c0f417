import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { parseStream } from "music-metadata";
import { amrDuration } from "./media-amr.ts";
import { imageSize } from "./media-image-size.ts";
import { mp4Movie } from "./media-mp4.ts";

export interface Probed {
  durationMs?: number;
  /** Pixels. */
  width?: number;
  height?: number;
}

const MOVIES = new Set([
  "video/mp4",
  "video/quicktime",
  "video/x-m4v",
  "video/3gpp",
  "video/3gpp2",
  "audio/mp4",
  "audio/x-m4a",
]);
const MP3 = "audio/mpeg";
/**
 * Types whose header says how long they are, and how much of the file is looked at for it. An MP3 has none: its first frames
 * and the size of the file say it. There the parser searches bytes that make no sense one by one, at 11 µs each: 20 MB of
 * 0xFF kept it busy for 11 s, 1.5 s at a time without a turn for anybody else (measured).
 */
const HEAD_BYTES = new Map([
  [MP3, 16 * 1024],
  ...["audio/wav", "audio/flac", "audio/x-flac", "video/webm", "video/matroska"].map(
    (type) => [type, 256 * 1024] as const,
  ),
]);
/** The position in the last page says it: read to the end. */
const BY_LAST_PAGE = new Set(["audio/ogg", "video/ogg"]);

/** A file that takes longer is one made to take long. */
const DEADLINE_MS = 10_000;

/**
 * What can be known about a stored file: duration of the usual audio and video types, size of PNG, JPEG, GIF, BMP, WebP and
 * MP4 pictures. `mimeType` is the sniffed one. Never throws: what cannot be read is left out. No file makes it read more
 * than once through, or keep the process from other work.
 */
export async function probeMedia(path: string, mimeType: string): Promise<Probed> {
  try {
    if (mimeType.startsWith("image/")) return (await imageSize(path, mimeType)) ?? {};
    if (MOVIES.has(mimeType)) return await mp4Movie(path);
    const durationMs = await duration(path, mimeType);
    return durationMs === undefined ? {} : { durationMs };
  } catch {
    // Cut off or not what its first bytes promised; the file itself is kept and sent as it is.
    return {};
  }
}

async function duration(path: string, mimeType: string): Promise<number | undefined> {
  // music-metadata says "not supported" for AMR (tried).
  if (mimeType.startsWith("audio/amr")) return amrDuration(path);
  const isWhole = BY_LAST_PAGE.has(mimeType);
  const headBytes = HEAD_BYTES.get(mimeType);
  if (!isWhole && headBytes === undefined) return undefined;
  const { start, bytes } = await audioIn(path);
  // A stream and not the file, because a stream can be ended: whatever the parser waits for then fails.
  const stream = createReadStream(path, { start, ...(headBytes !== undefined && { end: start + headBytes - 1 }) });
  const timer = setTimeout(() => stream.destroy(new Error("takes too long")), DEADLINE_MS);
  try {
    // Told the size of an MP3, the parser looks for a tag at the end of what is only its head, and gives up.
    const fileInfo = mimeType === MP3 ? { mimeType } : { mimeType, size: bytes - start };
    const { format } = await parseStream(stream, fileInfo, { duration: isWhole, skipCovers: true });
    const constant = format.codecProfile === "CBR" && format.bitrate ? ((bytes - start) * 8) / format.bitrate : 0;
    const ms = Math.round((format.duration ?? constant) * 1_000);
    return Number.isSafeInteger(ms) && ms > 0 ? ms : undefined;
  } finally {
    clearTimeout(timer);
    stream.destroy();
  }
}

/** Behind an ID3v2 tag, which may hold a cover of megabytes (id3.org, ID3v2.4 §3.1: 7 bits in each byte of its size). */
async function audioIn(path: string): Promise<{ start: number; bytes: number }> {
  const file = await open(path, "r");
  try {
    const { size: bytes } = await file.stat();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(10), 0, 10, 0);
    if (bytesRead < 10 || buffer.toString("latin1", 0, 3) !== "ID3") return { start: 0, bytes };
    const tagBytes = 10 + [6, 7, 8, 9].reduce((sum, at) => sum * 128 + ((buffer[at] ?? 0) & 0x7f), 0);
    return { start: tagBytes < bytes ? tagBytes : 0, bytes };
  } finally {
    await file.close();
  }
}
