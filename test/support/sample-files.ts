import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

/** Small files of the right kind with contents of their own: the same seed gives the same bytes. */

export const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

/** `length` bytes that no other seed gives. */
export function noise(seed: string, length: number): Buffer {
  const blocks = Math.ceil(length / 32);
  const parts = Array.from({ length: blocks }, (_, n) => createHash("sha256").update(`${seed}:${n}`).digest());
  return Buffer.concat(parts).subarray(0, length);
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

function pngChunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  return Buffer.concat([u32(data.byteLength), body, u32(crc32(body))]);
}

/** 2 × 2 pixels as far as the header goes. */
export function pngOf(seed: string, bytes = 400): Buffer {
  const header = Buffer.from([0, 0, 0, 2, 0, 0, 0, 2, 8, 6, 0, 0, 0]);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk("IHDR", header),
    pngChunk("IDAT", noise(seed, bytes)),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

/** AMR-NB at 12.2 kbit/s: frames of 32 bytes, 20 ms each. */
export function amrOf(seed: string, ms = 1_000): Buffer {
  const frames = Array.from({ length: ms / 20 }, (_, n) =>
    Buffer.concat([Buffer.from([0x3c]), noise(`${seed}:${n}`, 31)]),
  );
  return Buffer.concat([Buffer.from("#!AMR\n", "latin1"), ...frames]);
}

function box(type: string, ...data: Uint8Array[]): Buffer {
  const body = Buffer.concat(data);
  return Buffer.concat([u32(body.byteLength + 8), Buffer.from(type, "latin1"), body]);
}

/** A movie header that says how long it is, and no frame that could be shown. */
export function mp4Of(seed: string, ms = 2_000, bytes = 500): Buffer {
  const header = Buffer.alloc(100);
  header.writeUInt32BE(1_000, 12);
  header.writeUInt32BE(ms, 16);
  return Buffer.concat([
    box("ftyp", Buffer.from("isom\0\0\u0002\0isomiso2mp41", "latin1")),
    box("moov", box("mvhd", header)),
    box("mdat", noise(seed, bytes)),
  ]);
}

export function pdfOf(seed: string, bytes = 500): Buffer {
  return Buffer.concat([Buffer.from("%PDF-1.4\n", "latin1"), noise(seed, bytes), Buffer.from("\n%%EOF\n", "latin1")]);
}
