import { type FileHandle, open } from "node:fs/promises";

export interface Size {
  width: number;
  height: number;
}

/** Enough for the headers of all but JPEG, whose frame header comes behind thumbnails and profiles. */
const HEAD_BYTES = 32;
/** Each costs one read; real files have some twenty. */
const MAX_JPEG_SEGMENTS = 256;

/** Pixels of a PNG, GIF, BMP, WebP or JPEG file; undefined for other types and where the headers make no sense. */
export async function imageSize(path: string, mimeType: string): Promise<Size | undefined> {
  const file = await open(path, "r");
  try {
    const size = await sizeIn(file, mimeType);
    return size !== undefined && size.width > 0 && size.height > 0 ? size : undefined;
  } finally {
    await file.close();
  }
}

async function sizeIn(file: FileHandle, mimeType: string): Promise<Size | undefined> {
  if (mimeType === "image/jpeg") return jpeg(file);
  const head = await read(file, 0, HEAD_BYTES);
  if (mimeType === "image/png" || mimeType === "image/apng")
    return at(head, 24, () => pair(head.readUInt32BE(16), head.readUInt32BE(20)));
  if (mimeType === "image/gif") return at(head, 10, () => pair(head.readUInt16LE(6), head.readUInt16LE(8)));
  if (mimeType === "image/bmp") return at(head, 26, () => bmp(head));
  if (mimeType === "image/webp") return at(head, 30, () => webp(head));
  return undefined;
}

function bmp(head: Buffer): Size {
  // OS/2 bitmaps have a header of 12 bytes with 16-bit sizes; a negative height means rows from top to bottom.
  if (head.readUInt32LE(14) === 12) return pair(head.readUInt16LE(18), head.readUInt16LE(20));
  return pair(head.readInt32LE(18), Math.abs(head.readInt32LE(22)));
}

/** RFC 9649 §2.5 to §2.7. */
function webp(head: Buffer): Size | undefined {
  const chunk = head.toString("latin1", 12, 16);
  if (chunk === "VP8X") return pair(head.readUIntLE(24, 3) + 1, head.readUIntLE(27, 3) + 1);
  if (chunk === "VP8 ") return pair(head.readUInt16LE(26) & 0x3fff, head.readUInt16LE(28) & 0x3fff);
  if (chunk !== "VP8L" || head[20] !== 0x2f) return undefined;
  const bits = head.readUInt32LE(21);
  return pair((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1);
}

/** Walks the segments to the frame header (ITU T.81 §B.2.2). */
async function jpeg(file: FileHandle): Promise<Size | undefined> {
  let offset = 2;
  for (let n = 0; n < MAX_JPEG_SEGMENTS; n += 1) {
    const segment = await read(file, offset, 9);
    const marker = segment[1];
    if (segment.length < 9 || segment[0] !== 0xff || marker === undefined) return undefined;
    if (marker === 0xff) {
      // Fill bytes may stand before a marker.
      offset += 1;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return pair(segment.readUInt16BE(7), segment.readUInt16BE(5));
    const isScanOrEnd = marker === 0xda || marker === 0xd9;
    const length = segment.readUInt16BE(2);
    if (isScanOrEnd || length < 2) return undefined;
    offset += 2 + length;
  }
  return undefined;
}

function pair(width: number, height: number): Size {
  return { width, height };
}

function at(head: Buffer, needed: number, size: () => Size | undefined): Size | undefined {
  return head.length < needed ? undefined : size();
}

async function read(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
  return buffer.subarray(0, bytesRead);
}
