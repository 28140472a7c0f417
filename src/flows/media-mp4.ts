import { type FileHandle, open } from "node:fs/promises";

export interface Movie {
  durationMs?: number;
  width?: number;
  height?: number;
}

interface Box {
  type: string;
  /** Offsets of its contents in the file. */
  start: number;
  end: number;
}

/** Each costs a read; files have some ten in each of the places looked at. */
const MAX_BOXES = 512;

/**
 * What the movie and track headers of an MP4, MOV or 3GP file say (ISO/IEC 14496-12 §8.2.2, §8.3.2). music-metadata gives the
 * duration of audio tracks only (seen), and a recorded screen has none. Empty when there is no movie header.
 */
export async function mp4Movie(path: string): Promise<Movie> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const boxes = new Boxes(file);
    const moov = await boxes.first("moov", 0, size);
    if (moov === undefined) return {};
    const header = await boxes.first("mvhd", moov.start, moov.end);
    const durationMs = header === undefined ? undefined : await movieDuration(file, header);
    return { ...(durationMs !== undefined && { durationMs }), ...(await pictureSize(boxes, file, moov)) };
  } finally {
    await file.close();
  }
}

async function movieDuration(file: FileHandle, { start }: Box): Promise<number | undefined> {
  const body = await read(file, start, 32);
  if (body.length < 32) return undefined;
  const isLong = body[0] === 1;
  const scale = body.readUInt32BE(isLong ? 20 : 12);
  const units = isLong ? Number(body.readBigUInt64BE(24)) : body.readUInt32BE(16);
  // All ones is how an unknown duration is written.
  if (scale === 0 || units === 0xffff_ffff) return undefined;
  const ms = Math.round((units / scale) * 1_000);
  return ms > 0 && Number.isSafeInteger(ms) ? ms : undefined;
}

/** Of the first track that has one: sound has 0 × 0. */
async function pictureSize(boxes: Boxes, file: FileHandle, moov: Box): Promise<Movie> {
  for await (const track of boxes.within(moov.start, moov.end)) {
    if (track.type !== "trak") continue;
    const header = await boxes.first("tkhd", track.start, track.end);
    if (header === undefined) continue;
    const body = await read(file, header.start, 96);
    const at = body[0] === 1 ? 88 : 76;
    if (body.length < at + 8) continue;
    // Fixed point, 16 bits before it.
    const [width, height] = [body.readUInt16BE(at), body.readUInt16BE(at + 4)];
    if (width > 0 && height > 0) return { width, height };
  }
  return {};
}

class Boxes {
  readonly #file: FileHandle;
  #left = MAX_BOXES;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async first(type: string, start: number, end: number): Promise<Box | undefined> {
    for await (const box of this.within(start, end)) if (box.type === type) return box;
    return undefined;
  }

  /** Ends at a box that makes no sense. */
  async *within(start: number, end: number): AsyncIterable<Box> {
    for (let offset = start; offset + 8 <= end && this.#left > 0; this.#left -= 1) {
      const head = await read(this.#file, offset, 16);
      if (head.length < 8) return;
      let bytes = head.readUInt32BE(0);
      let headBytes = 8;
      if (bytes === 0) bytes = end - offset;
      if (bytes === 1) {
        if (head.length < 16) return;
        bytes = Number(head.readBigUInt64BE(8));
        headBytes = 16;
      }
      if (bytes < headBytes) return;
      yield { type: head.toString("latin1", 4, 8), start: offset + headBytes, end: Math.min(offset + bytes, end) };
      offset += bytes;
    }
  }
}

async function read(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
  return buffer.subarray(0, bytesRead);
}
