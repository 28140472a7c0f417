import { Readable } from "node:stream";
import { crc32, deflateSync } from "node:zlib";
import type { MediaKind } from "./dingtalk-types.ts";

const u16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
};
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** A grey PNG of 8 × 8 pixels. */
function png(): Buffer {
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
    return Buffer.concat([u32(data.length), body, u32(crc32(body))]);
  };
  const header = Buffer.concat([u32(8), u32(8), Buffer.from([8, 0, 0, 0, 0])]);
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.alloc(8 * 9, 0x80))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** AMR narrow band, 4.75 kbit/s: frames of 13 bytes, 20 ms each (RFC 4867 §5). */
function amr(durationMs: number): Buffer {
  const frame = Buffer.alloc(13);
  frame[0] = 0x04;
  return Buffer.concat([Buffer.from("#!AMR\n", "latin1"), ...Array.from({ length: durationMs / 20 }, () => frame)]);
}

/** ISO base media file with one video track without samples: type, duration and size can be read, nothing be played. */
function mp4(durationMs: number): Buffer {
  const box = (type: string, ...parts: Buffer[]): Buffer => {
    const body = Buffer.concat(parts);
    return Buffer.concat([u32(body.length + 8), Buffer.from(type, "latin1"), body]);
  };
  const full = (type: string, ...parts: Buffer[]): Buffer => box(type, u32(0), ...parts);
  const zeros = (length: number): Buffer => Buffer.alloc(length);
  const matrix = Buffer.concat([0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000].map(u32));
  const size = [u32(320 << 16), u32(240 << 16)];
  const avc1 = [zeros(6), u16(1), zeros(16), u16(320), u16(240), u32(0x480000), u32(0x480000), u32(0)];
  const sample = box("avc1", ...avc1, u16(1), zeros(32), u16(24), u16(0xffff));
  const tables = ["stts", "stsc", "stco"].map((type) => full(type, u32(0)));
  const table = box("stbl", full("stsd", u32(1), sample), ...tables, full("stsz", u32(0), u32(0)));
  const here = Buffer.concat([u32(0), u32(1)]);
  const info = box("minf", full("vmhd", zeros(8)), box("dinf", full("dref", u32(1), box("url ", u32(1)))), table);
  const times = [u32(0), u32(0)];
  const media = box(
    "mdia",
    full("mdhd", ...times, u32(1_000), u32(durationMs), u16(0x55c4), u16(0)),
    full("hdlr", u32(0), Buffer.from("vide", "latin1"), zeros(12), Buffer.from("video\0", "latin1")),
    info,
  );
  const track = full("tkhd", ...times, here.subarray(4), u32(0), u32(durationMs), zeros(16), matrix, ...size);
  const movie = full(
    "mvhd",
    ...times,
    u32(1_000),
    u32(durationMs),
    u32(0x10000),
    u16(0x100),
    zeros(10),
    matrix,
    zeros(24),
    u32(2),
  );
  return Buffer.concat([
    box("ftyp", Buffer.from("isom\0\0\u0002\0isomiso2mp41", "latin1")),
    box("moov", movie, box("trak", track, media)),
    box("mdat"),
  ]);
}

/** A ZIP archive with one stored file. */
function zip(name: string, content: Buffer): Buffer {
  const little = (value: number, bytes: 2 | 4): Buffer => {
    const buffer = Buffer.alloc(bytes);
    buffer.writeUIntLE(value, 0, bytes);
    return buffer;
  };
  const sizes = [little(crc32(content), 4), little(content.length, 4), little(content.length, 4)];
  const common = [little(20, 2), little(0, 2), little(0, 2), little(0, 2), little(0x21, 2), ...sizes];
  const named = [little(Buffer.byteLength(name), 2), little(0, 2)];
  const local = Buffer.concat([Buffer.from("PK\u0003\u0004"), ...common, ...named, Buffer.from(name), content]);
  const entry = [
    Buffer.from("PK\u0001\u0002"),
    little(20, 2),
    ...common,
    ...named,
    Buffer.alloc(14),
    Buffer.from(name),
  ];
  const directory = Buffer.concat(entry);
  const counts = [little(0, 4), little(1, 2), little(1, 2)];
  const end = [Buffer.from("PK\u0005\u0006"), ...counts, little(directory.length, 4), little(local.length, 4)];
  return Buffer.concat([local, directory, ...end, little(0, 2)]);
}

const pdf = (): Buffer =>
  Buffer.from(
    "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n" +
      "trailer<</Root 1 0 R>>\n%%EOF\n",
  );

/** Length of the default audio and video. */
export const sampleDurationMs = 4_000;

/** A small file of the kind, with the bytes that its format asks for. A `file` is what its name says: PDF, text, else ZIP. */
export function sampleFile(kind: MediaKind, fileName = ""): Buffer {
  switch (kind) {
    case "picture":
      return png();
    case "audio":
      return amr(sampleDurationMs);
    case "video":
      return mp4(sampleDurationMs);
    case "file":
      if (/\.pdf$/i.test(fileName)) return pdf();
      if (/\.(txt|md|csv)$/i.test(fileName)) return Buffer.from("钉钉，让进步发生\n");
      return zip("readme.txt", Buffer.from("钉钉，让进步发生\n"));
  }
}

const CHUNK = Buffer.alloc(64 * 1024, 0x5a);

/** `bytes` of a file that begins as its kind does; made while it is read. */
export function* generateFile(kind: MediaKind, bytes: number, fileName?: string): Generator<Buffer> {
  const start = sampleFile(kind, fileName).subarray(0, bytes);
  yield start;
  for (let left = bytes - start.length; left > 0; left -= CHUNK.length) {
    yield left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left);
  }
}

export const generatedFile = (kind: MediaKind, bytes: number, fileName?: string): Readable =>
  Readable.from(generateFile(kind, bytes, fileName), { objectMode: false });
