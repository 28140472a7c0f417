import { crc32, inflateRawSync } from "node:zlib";

/** The files of an archive by its central directory, checked against their checksums. */
export function contentsOfZip(archive: Buffer): { name: string; data: Buffer }[] {
  const end = archive.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  const files: { name: string; data: Buffer }[] = [];
  let at = archive.readUInt32LE(end + 16);
  for (let n = archive.readUInt16LE(end + 10); n > 0; n -= 1) {
    const nameLength = archive.readUInt16LE(at + 28);
    const name = archive.toString("utf8", at + 46, at + 46 + nameLength);
    const local = archive.readUInt32LE(at + 42);
    const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
    const packed = archive.subarray(start, start + archive.readUInt32LE(at + 20));
    const data = archive.readUInt16LE(at + 10) === 8 ? inflateRawSync(packed) : Buffer.from(packed);
    if (crc32(data) !== archive.readUInt32LE(at + 16)) throw new Error(`${name}: the checksum does not match`);
    files.push({ name, data });
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  return files;
}
