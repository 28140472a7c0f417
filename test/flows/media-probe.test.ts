import fc from "fast-check";
import { rmSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Probed, probeMedia } from "../../src/flows/media-probe.ts";
import { sniffType } from "../../src/flows/media-type.ts";
import {
  AMR_NB,
  AMR_WB,
  amr,
  movieWith,
  bmp,
  gif,
  jpeg,
  mp3,
  mp4,
  ole,
  opus,
  png,
  wav,
  webp,
} from "./media-samples.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "bridge-probe-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function probe(bytes: Uint8Array, mimeType: string): Promise<Probed> {
  const path = join(directory, "file");
  writeFileSync(path, bytes);
  return probeMedia(path, mimeType);
}

const sniffed = async (bytes: Uint8Array): Promise<Probed & { mimeType: string }> => {
  const mimeType = await sniffType(bytes.subarray(0, 65_536), undefined);
  return { mimeType, ...(await probe(bytes, mimeType)) };
};

describe("AMR", () => {
  test.each([
    ["nb", AMR_NB],
    ["wb", AMR_WB],
  ] as const)("%s: each frame type has its size, 20 ms a frame", async (kind, payload) => {
    for (const type of [...payload.keys(), 15]) {
      // A wrong size would read payload bytes (all ones, no valid header) as headers.
      const bytes = amr(kind, [type, type, type, type, type]);
      expect(await sniffed(bytes), `frame type ${type}`).toEqual({ mimeType: "audio/amr", durationMs: 100 });
    }
    const mixed = amr(
      kind,
      Array.from({ length: 3_000 }, (_, n) => n % payload.length),
    );
    expect(await probe(mixed, "audio/amr")).toEqual({ durationMs: 60_000 });
  });

  test("a frame that is cut off does not count, and nothing behind one that is not valid", async () => {
    const whole = amr("nb", [7, 7, 7]);
    expect(await probe(whole.subarray(0, whole.length - 1), "audio/amr")).toEqual({ durationMs: 40 });
    const reserved = Buffer.concat([whole, Buffer.of(9 << 3), amr("nb", [7, 7]).subarray(6)]);
    expect(await probe(reserved, "audio/amr")).toEqual({ durationMs: 60 });
    const padded = Buffer.concat([whole, Buffer.of(0x3d), Buffer.alloc(100)]);
    expect(await probe(padded, "audio/amr")).toEqual({ durationMs: 60 });
    expect(await probe(amr("nb", []), "audio/amr")).toEqual({});
    expect(await probe(Buffer.from("#!AMR_MC1.0\n\0\0\0\x02"), "audio/amr")).toEqual({});
  });

  test("frames across the pieces that a file is read in", async () => {
    // 32-byte frames behind 6 bytes: the borders of 64 KiB fall within frames.
    expect(
      await probe(
        amr(
          "nb",
          Array.from({ length: 50_000 }, () => 7),
        ),
        "audio/amr",
      ),
    ).toEqual({ durationMs: 1_000_000 });
  });
});

describe("other audio and video", () => {
  test.each([
    ["wav", wav(1_500), "audio/wav", 1_500],
    ["ogg/opus", opus(4_200), "audio/ogg", 4_200],
    ["mp3", mp3(100), "audio/mpeg", (100 * 1_152) / 44.1],
    ["wav, long", wav(60_000), "audio/wav", 60_000],
    ["ogg/opus, many pages", opus(600_000, 3_000), "audio/ogg", 600_000],
    ["mp3, long", mp3(10_000), "audio/mpeg", (10_000 * 1_152) / 44.1],
    ["mp3 behind a large tag", mp3(100, 600_000), "audio/mpeg", (100 * 1_152) / 44.1],
    ["mp4", mp4(7_000), "video/mp4", 7_000],
    ["mp4, header last", mp4(7_000, { moovLast: true, dataBytes: 200_000 }), "video/mp4", 7_000],
  ])("%s", async (_name, bytes, mimeType, ms) => {
    const found = await sniffed(bytes);
    expect(found.mimeType).toBe(mimeType);
    // Of an MP3 it is an estimate by its bit rate.
    expect(Math.abs((found.durationMs ?? 0) - ms)).toBeLessThan(ms / 200);
  });

  test("the picture of a video, a duration in 64 bits, one that is unknown", async () => {
    expect(await probe(mp4(7_000), "video/mp4")).toEqual({ durationMs: 7_000, width: 640, height: 480 });
    const long = Buffer.alloc(32);
    long[0] = 1;
    long.writeUInt32BE(600, 20);
    long.writeBigUInt64BE(1_800n, 24);
    expect(await probe(movieWith(long), "video/mp4")).toEqual({ durationMs: 3_000 });
    const unknown = Buffer.alloc(32);
    unknown.writeUInt32BE(1_000, 12);
    unknown.writeUInt32BE(0xffff_ffff, 16);
    expect(await probe(movieWith(unknown), "video/mp4")).toEqual({});
    expect(await probe(movieWith(Buffer.alloc(32)), "video/mp4")).toEqual({});
  });

  test("a file that is not there, one of another type, an empty one", async () => {
    expect(await probeMedia(join(directory, "nothing"), "audio/ogg")).toEqual({});
    expect(await probeMedia(join(directory, "nothing"), "audio/amr")).toEqual({});
    expect(await probeMedia(join(directory, "nothing"), "image/png")).toEqual({});
    expect(await probe(wav(100), "application/pdf")).toEqual({});
    expect(await probe(Buffer.alloc(0), "video/mp4")).toEqual({});
  });
});

describe("pictures", () => {
  test.each([
    ["png", png(640, 480), "image/png"],
    ["jpeg", jpeg(640, 480), "image/jpeg"],
    ["jpeg with a thumbnail", jpeg(640, 480, 60_000), "image/jpeg"],
    ["gif", gif(640, 480), "image/gif"],
    ["bmp, top down", bmp(640, 480), "image/bmp"],
    ["webp", webp(640, 480, "VP8X"), "image/webp"],
    ["webp lossy", webp(640, 480, "VP8 "), "image/webp"],
    ["webp lossless", webp(640, 480, "VP8L"), "image/webp"],
  ])("%s", async (_name, bytes, mimeType) => {
    expect(await sniffed(bytes)).toEqual({ mimeType, width: 640, height: 480 });
  });

  test("sizes of zero and headers that are cut off say nothing", async () => {
    expect(await probe(png(0, 5), "image/png")).toEqual({});
    for (const [bytes, type] of [
      [png(1, 1).subarray(0, 20), "image/png"],
      [jpeg(1, 1).subarray(0, 25), "image/jpeg"],
      [webp(1, 1, "VP8X").subarray(0, 25), "image/webp"],
      [bmp(1, 1).subarray(0, 20), "image/bmp"],
    ] as const) {
      expect(await probe(bytes, type), type).toEqual({});
    }
  });
});

describe("any bytes", () => {
  const samples = [
    wav(200),
    opus(200),
    mp3(5),
    mp3(3, 300),
    mp4(500),
    mp4(500, { moovLast: true }),
    amr("nb", [7, 3]),
    amr("wb", [8, 2]),
    png(3, 4),
    jpeg(3, 4, 50),
    gif(3, 4),
    bmp(3, 4),
    webp(3, 4, "VP8X"),
    webp(3, 4, "VP8L"),
    ole(),
    Buffer.from("RIFF\xff\xff\xff\xffAVI LIST", "latin1"),
    Buffer.from("fLaC\0\0\0\x22", "latin1"),
    Buffer.from("1a45dfa3010000000000001f4286810142f7810142f2810442f381084282847765626d", "hex"),
    Buffer.from("PK\x03\x04\x14\0\0\0\x08\0", "latin1"),
    Buffer.from("1f8b0800000000000003", "hex"),
    Buffer.from("FORM\0\0\0\x20AIFFCOMM", "latin1"),
    Buffer.from("MAC \x96\x0f\0\0", "latin1"),
    Buffer.from("wvpk\x20\0\0\0\x10\x04", "latin1"),
    Buffer.from("DSD \x1c\0\0\0\0\0\0\0", "latin1"),
    Buffer.from("3026b2758e66cf11a6d900aa0062ce6c", "hex"),
  ];
  const types = [
    "audio/mpeg",
    "audio/wav",
    "audio/ogg",
    "video/mp4",
    "video/webm",
    "audio/flac",
    "audio/amr",
    "video/x-ms-asf",
  ];
  const edit = fc.record({
    at: fc.nat(2_000),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
    isInsert: fc.boolean(),
  });
  const damaged = fc
    .record({ sample: fc.constantFrom(...samples), edits: fc.array(edit, { maxLength: 6 }), cut: fc.nat(3_000) })
    .map(({ sample, edits, cut }) => {
      let bytes = sample;
      for (const { at, bytes: put, isInsert } of edits) {
        const place = bytes.length === 0 ? 0 : at % bytes.length;
        bytes = Buffer.concat([bytes.subarray(0, place), put, bytes.subarray(isInsert ? place : place + put.length)]);
      }
      return bytes.subarray(0, Math.max(1, cut));
    });
  const anyBytes = fc.oneof(damaged, fc.uint8Array({ maxLength: 3_000 }));

  test("never an exception, never a hang, and only sensible numbers", async () => {
    await fc.assert(
      fc.asyncProperty(anyBytes, fc.constantFrom("", ...types), async (bytes, claimed) => {
        const mimeType = await sniffType(bytes, "x.svg");
        expect(mimeType).toMatch(/^[a-z]+\/[a-z0-9.+-]+$/);
        const { durationMs, width, height } = await probe(bytes, claimed || mimeType);
        if (durationMs !== undefined) expect(durationMs).toBeGreaterThan(0);
        if (width !== undefined) expect(Number.isSafeInteger(width) && width > 0).toBe(true);
        if (height !== undefined) expect(Number.isSafeInteger(height) && height > 0).toBe(true);
      }),
      { numRuns: 1_500 },
    );
  });
});
