/** Small files made byte by byte; lengths and sizes are what the tests ask for. */

const ascii = (text: string): Buffer => Buffer.from(text, "latin1");

function field(bytes: number, write: (buffer: Buffer) => void): Buffer {
  const buffer = Buffer.alloc(bytes);
  write(buffer);
  return buffer;
}

const u32be = (value: number): Buffer => field(4, (buffer) => buffer.writeUInt32BE(value));
const u32le = (value: number): Buffer => field(4, (buffer) => buffer.writeUInt32LE(value));
const u16le = (value: number): Buffer => field(2, (buffer) => buffer.writeUInt16LE(value));

/** Payload bytes per frame type, as in RFC 4867 and the 3GPP specifications. */
export const AMR_NB = [12, 13, 15, 17, 19, 20, 26, 31, 5];
export const AMR_WB = [17, 23, 32, 36, 40, 46, 50, 58, 60, 5];

/** `types`: the frame type of each frame; 15 (no data) has no payload. */
export function amr(kind: "nb" | "wb", types: readonly number[]): Buffer {
  const payload = kind === "nb" ? AMR_NB : AMR_WB;
  const frames = types.map((type) =>
    Buffer.concat([Buffer.of((type << 3) | 4), Buffer.alloc(payload[type] ?? 0, 0xff)]),
  );
  return Buffer.concat([ascii(kind === "nb" ? "#!AMR\n" : "#!AMR-WB\n"), ...frames]);
}

/** 8-bit mono PCM. */
export function wav(ms: number, rate = 8_000): Buffer {
  const data = Buffer.alloc((rate * ms) / 1_000, 0x80);
  const format = Buffer.concat([u16le(1), u16le(1), u32le(rate), u32le(rate), u16le(1), u16le(8)]);
  const chunks = [ascii("fmt "), u32le(16), format, ascii("data"), u32le(data.length), data];
  const body = Buffer.concat([ascii("WAVE"), ...chunks]);
  return Buffer.concat([ascii("RIFF"), u32le(body.length), body]);
}

/** MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes and 1152 samples each. */
export function mp3(frames: number, id3Bytes = 0): Buffer {
  const frame = Buffer.concat([Buffer.of(0xff, 0xfb, 0x90, 0x00), Buffer.alloc(413)]);
  const size = Buffer.of((id3Bytes >> 21) & 0x7f, (id3Bytes >> 14) & 0x7f, (id3Bytes >> 7) & 0x7f, id3Bytes & 0x7f);
  const tag = id3Bytes === 0 ? [] : [ascii("ID3\x03\0\0"), size, Buffer.alloc(id3Bytes)];
  return Buffer.concat([...tag, ...Array.from({ length: frames }, () => frame)]);
}

function oggPage(sequence: number, granule: bigint, flags: number, packet: Buffer): Buffer {
  const head = Buffer.alloc(27);
  head.write("OggS", 0, "latin1");
  head[5] = flags;
  head.writeBigUInt64LE(granule, 6);
  head.writeUInt32LE(1, 14);
  head.writeUInt32LE(sequence, 18);
  head.writeUInt32LE(0, 22);
  const segments = [...Array.from({ length: Math.floor(packet.length / 255) }, () => 255), packet.length % 255];
  head[26] = segments.length;
  const page = Buffer.concat([head, Buffer.from(segments), packet]);
  page.writeUInt32LE(oggCrc(page), 22);
  return page;
}

function oggCrc(bytes: Buffer): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 24;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc << 1) ^ ((crc & 0x80000000) === 0 ? 0 : 0x04c11db7);
  }
  return crc >>> 0;
}

/** Opus in Ogg: 48 kHz granules, no pre-skip. */
export function opus(ms: number, pages = 2): Buffer {
  const head = Buffer.concat([ascii("OpusHead"), Buffer.of(1, 1), u16le(0), u32le(16_000), u16le(0), Buffer.of(0)]);
  const tags = Buffer.concat([ascii("OpusTags"), u32le(4), ascii("test"), u32le(0)]);
  const audio = Buffer.alloc(200, 0x55);
  return Buffer.concat([
    oggPage(0, 0n, 2, head),
    oggPage(1, 0n, 0, tags),
    ...Array.from({ length: pages }, (_, n) => {
      const isLast = n === pages - 1;
      return oggPage(n + 2, (BigInt(ms * 48) * BigInt(n + 1)) / BigInt(pages), isLast ? 4 : 0, audio);
    }),
  ]);
}

function box(type: string, ...contents: Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  return Buffer.concat([u32be(body.length + 8), ascii(type), body]);
}

/** One video track whose header says its length; `moovLast` as cameras write it, behind the data. */
export function mp4(ms: number, { moovLast = false, dataBytes = 500 } = {}): Buffer {
  const lengths = (bytes: number): Buffer =>
    field(bytes, (buffer) => {
      buffer.writeUInt32BE(1_000, 12);
      buffer.writeUInt32BE(ms, 16);
    });
  const size = field(84, (buffer) => {
    buffer.writeUInt16BE(640, 76);
    buffer.writeUInt16BE(480, 80);
  });
  const handler = field(25, (buffer) => buffer.write("vide", 8, "latin1"));
  const track = box("trak", box("tkhd", size), box("mdia", box("mdhd", lengths(24)), box("hdlr", handler)));
  const moov = box("moov", box("mvhd", lengths(100)), track);
  const mdat = box("mdat", Buffer.alloc(dataBytes, 7));
  const ftyp = box("ftyp", ascii("isom\0\0\x02\0isomiso2mp41"));
  return Buffer.concat([ftyp, ...(moovLast ? [mdat, moov] : [moov, mdat])]);
}

export function png(width: number, height: number): Buffer {
  const header = Buffer.concat([u32be(width), u32be(height), Buffer.of(8, 6, 0, 0, 0)]);
  const chunk = (type: string, data: Buffer): Buffer =>
    Buffer.concat([u32be(data.length), ascii(type), data, Buffer.alloc(4)]);
  const parts = [chunk("IHDR", header), chunk("IDAT", Buffer.alloc(10)), chunk("IEND", Buffer.alloc(0))];
  return Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), ...parts]);
}

/** `thumbnailBytes` stand in a segment of their own before the frame header, as EXIF puts them. */
export function jpeg(width: number, height: number, thumbnailBytes = 0): Buffer {
  const segment = (marker: number, data: Buffer): Buffer => {
    const head = Buffer.of(0xff, marker, 0, 0);
    head.writeUInt16BE(data.length + 2, 2);
    return Buffer.concat([head, data]);
  };
  const size = Buffer.alloc(15);
  size[0] = 8;
  size.writeUInt16BE(height, 1);
  size.writeUInt16BE(width, 3);
  const exif = thumbnailBytes === 0 ? [] : [segment(0xe1, Buffer.alloc(thumbnailBytes, 0xc0))];
  const parts = [segment(0xe0, ascii("JFIF\0\x01\x01\0\0\x01\0\x01\0\0")), ...exif, segment(0xc4, Buffer.alloc(20))];
  return Buffer.concat([
    Buffer.of(0xff, 0xd8),
    ...parts,
    segment(0xc2, size),
    Buffer.of(0xff, 0xda, 0, 4, 0, 0, 0xff, 0xd9),
  ]);
}

export const gif = (width: number, height: number): Buffer =>
  Buffer.concat([ascii("GIF89a"), u16le(width), u16le(height), Buffer.alloc(10)]);

export const bmp = (width: number, height: number): Buffer =>
  Buffer.concat([
    ascii("BM"),
    Buffer.alloc(12),
    u32le(40),
    u32le(width),
    field(4, (b) => b.writeInt32LE(-height)),
    Buffer.alloc(40),
  ]);

export function webp(width: number, height: number, kind: "VP8X" | "VP8L" | "VP8 "): Buffer {
  const extended = Buffer.alloc(10);
  extended.writeUIntLE(width - 1, 4, 3);
  extended.writeUIntLE(height - 1, 7, 3);
  const lossless = Buffer.concat([Buffer.of(0x2f), u32le(((width - 1) | ((height - 1) << 14)) >>> 0), Buffer.alloc(5)]);
  const lossy = Buffer.concat([Buffer.of(0x30, 1, 0, 0x9d, 1, 0x2a), u16le(width), u16le(height), Buffer.alloc(4)]);
  const data = { VP8X: extended, VP8L: lossless, "VP8 ": lossy }[kind];
  const body = Buffer.concat([ascii("WEBP"), ascii(kind), u32le(data.length), data, Buffer.alloc(20)]);
  return Buffer.concat([ascii("RIFF"), u32le(body.length), body]);
}

/** An OLE container, as Word, Excel and PowerPoint wrote them until 2003. */
export const ole = (): Buffer => Buffer.concat([Buffer.from("d0cf11e0a1b11ae1", "hex"), Buffer.alloc(600)]);

/** Just a movie header, with this for its contents. */
export const movieWith = (header: Buffer): Buffer =>
  Buffer.concat([box("ftyp", ascii("isom\0\0\x02\0isom")), box("moov", box("mvhd", header))]);
