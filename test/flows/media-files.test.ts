import fc from "fast-check";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test, vi } from "vitest";
import { BridgeError } from "../../src/domain/errors.ts";
import { type MediaAbout, MediaFiles } from "../../src/flows/media-files.ts";
import { temporaryDirectory } from "../queue/helpers.ts";
import { silent } from "../queue/runner.ts";
import { amr, mp3, mp4, ole, opus, png } from "./media-samples.ts";
import { contentsOfZip } from "./media-unzip.ts";
import { zipOf } from "../../src/flows/media-zip.ts";

const ABOUT: MediaAbout = { account: "main", origin: "inbound", maxBytes: 1_000_000, createdAt: 1_000 };
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

function open(refusal: () => BridgeError | undefined = () => undefined) {
  const directory = join(temporaryDirectory(), "media");
  return { directory, files: new MediaFiles({ directory, refusal, logger: silent }) };
}

async function* pieces(...parts: (string | Uint8Array)[]): AsyncIterable<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

describe("write", () => {
  test("a file under its id: bytes, hash, type by content, safe name, modes; nothing else in the directory", async () => {
    const { directory, files } = open();
    const bytes = png(640, 480);
    const about = { ...ABOUT, type: "audio" as const, fileName: "../../photo.file" };
    const file = await files.write(pieces(bytes.subarray(0, 5), bytes.subarray(5)), about);
    expect(file).toEqual({
      id: expect.stringMatching(/^m_[0-9a-f]{32}$/),
      account: "main",
      origin: "inbound",
      mimeType: "image/png",
      bytes: bytes.length,
      sha256: sha256(bytes),
      fileName: "photo.png",
      durationMs: undefined,
      width: 640,
      height: 480,
      createdAt: 1_000,
    });
    expect(readFileSync(files.pathOf(file.id))).toEqual(bytes);
    expect(readdirSync(directory)).toEqual([file.id]);
    expect(statSync(files.pathOf(file.id)).mode & 0o777).toBe(0o600);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  test("durations", async () => {
    const { files } = open();
    const voice = await files.write(pieces(amr("nb", [7, 7])), { ...ABOUT, type: "audio" });
    expect(voice).toMatchObject({ mimeType: "audio/amr", durationMs: 40, fileName: "audio.amr" });
    const video = await files.write(pieces(mp4(2_000)), { ...ABOUT, type: "video" });
    expect(video).toMatchObject({ mimeType: "video/mp4", durationMs: 2_000, fileName: "video.mp4" });
  });

  test("pieces of any size arrive as they are", async () => {
    const { files } = open();
    const piece = fc.integer({ min: 0, max: 200_000 }).chain((n) => fc.constant(n));
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 12 }), async (sizes) => {
        const bytes = randomBytes(sizes.reduce((sum, size) => sum + size, 1));
        const cut = async function* (): AsyncIterable<Uint8Array> {
          let at = 0;
          for (const size of [...sizes, 1]) yield bytes.subarray(at, (at += size));
        };
        const file = await files.write(cut(), { ...ABOUT, maxBytes: bytes.length });
        expect(file).toMatchObject({ bytes: bytes.length, sha256: sha256(bytes) });
        expect(sha256(readFileSync(files.pathOf(file.id)))).toBe(file.sha256);
        await files.remove([file.id]);
      }),
      { numRuns: 40 },
    );
  });

  test("the cap, to the byte: the source is ended, nothing is left", async () => {
    const { directory, files } = open();
    expect(await files.write(pieces("x".repeat(100)), { ...ABOUT, maxBytes: 100 })).toMatchObject({ bytes: 100 });
    const ended = vi.fn<() => void>();
    const endless = async function* (): AsyncIterable<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(40_000);
      } finally {
        ended();
      }
    };
    const before = readdirSync(directory);
    await expect(files.write(endless(), ABOUT)).rejects.toMatchObject({ code: "media_too_large", retryable: false });
    expect(ended).toHaveBeenCalledOnce();
    expect(readdirSync(directory)).toEqual(before);
    const stream = Readable.from([Buffer.alloc(70_000), Buffer.alloc(70_000)]);
    await expect(files.write(stream, { ...ABOUT, maxBytes: 100 })).rejects.toMatchObject({ code: "media_too_large" });
    await vi.waitFor(() => expect(stream.destroyed).toBe(true));
  });

  test("an empty source", async () => {
    const { directory, files } = open();
    await expect(files.write(pieces(), ABOUT)).rejects.toMatchObject({ code: "media_empty" });
    await expect(files.write(pieces("", ""), ABOUT)).rejects.toMatchObject({ code: "media_empty" });
    expect(readdirSync(directory)).toEqual([]);
  });

  test("a source that fails: its own error, nothing is left, and no reader ever sees the name", async () => {
    const { directory, files } = open();
    const broken = Object.assign(new Error("reset"), { code: "ENOSPC" });
    const seen: string[][] = [];
    const failing = async function* (): AsyncIterable<Uint8Array> {
      yield Buffer.alloc(100_000);
      yield Buffer.alloc(1);
      seen.push(readdirSync(directory));
      throw broken;
    };
    await expect(files.write(failing(), ABOUT)).rejects.toBe(broken);
    expect(seen).toEqual([[expect.stringMatching(/^m_[0-9a-f]{32}\.part$/)]]);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("the signal ends a source that hangs; a BridgeError in it is the reason", async () => {
    const { directory, files } = open();
    const hanging = async function* (): AsyncIterable<Uint8Array> {
      yield Buffer.alloc(10);
      await new Promise(() => {});
    };
    const stop = new AbortController();
    const writing = files.write(hanging(), { ...ABOUT, signal: stop.signal });
    await vi.waitFor(() => expect(readdirSync(directory)).toHaveLength(1));
    stop.abort();
    await expect(writing).rejects.toMatchObject({ code: "interrupted", retryable: true });
    const reason = new BridgeError("media_not_fetched", "late", { retryable: true });
    const over = { ...ABOUT, signal: AbortSignal.abort(reason) };
    await expect(files.write(hanging(), over)).rejects.toBe(reason);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("no room: refused before anything is read", async () => {
    const refusal = new BridgeError("disk_low", "full", { retryable: true });
    const { directory, files } = open(() => refusal);
    const read = vi.fn<() => void>();
    const source = async function* (): AsyncIterable<Uint8Array> {
      read();
      yield Buffer.alloc(1);
    };
    await expect(files.write(source(), ABOUT)).rejects.toBe(refusal);
    expect(read).not.toHaveBeenCalled();
    expect(() => statSync(directory)).toThrow("ENOENT");
  });

  test("a directory that cannot be used: store_unavailable", async () => {
    const parent = temporaryDirectory();
    writeFileSync(join(parent, "file"), "");
    const blocked = new MediaFiles({ directory: join(parent, "file"), refusal: () => undefined, logger: silent });
    await expect(blocked.write(pieces("x"), ABOUT)).rejects.toMatchObject({
      code: "store_unavailable",
      retryable: true,
    });
    await expect(blocked.sweep(new Set())).rejects.toMatchObject({ code: "store_unavailable" });
  });
});

describe("types by content", () => {
  const csvInGbk = Buffer.from("c3fbd7d62cb1b8d7a20a", "hex");
  test.each([
    ["a.png", png(1, 1), "image/png"],
    ["a.txt", png(1, 1), "image/png"],
    ["a.doc", ole(), "application/msword"],
    ["a.xls", ole(), "application/vnd.ms-excel"],
    ["a", ole(), "application/x-cfb"],
    ["a.png", ole(), "application/x-cfb"],
    ["a.mp3", mp3(3), "audio/mpeg"],
    ["a.ogg", opus(100), "audio/ogg"],
    ["a", "你好，世界", "text/plain"],
    ["a.csv", "a,b\n1,2\n", "text/csv"],
    ["a.csv", csvInGbk, "text/csv"],
    ["a", csvInGbk, "application/octet-stream"],
    ["a.json", "{}", "application/json"],
    ["a.md", "# a", "text/markdown"],
    ["a.html", "hello", "text/html"],
    ["a.ts", "export const a = 1;", "text/plain"],
    ["a.png", "hello", "text/plain"],
    ["a.constructor", "hello", "text/plain"],
    ["a", "<!DOCTYPE html><script>alert(1)</script>", "text/html"],
    ["a.png", "<script>alert(1)</script>", "text/html"],
    ["a.png", '<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "image/svg+xml"],
    ["a.png", '<?xml version="1.0"?><svg onload="x"></svg>', "image/svg+xml"],
    ["a.csv", "a,b\0", "application/octet-stream"],
    ["a", Buffer.from([0xff, 0xfe, 0x80]), "application/octet-stream"],
  ])("%s", async (fileName, bytes, mimeType) => {
    const { files } = open();
    expect((await files.write(pieces(bytes), { ...ABOUT, type: "image", fileName })).mimeType).toBe(mimeType);
  });

  test("Office files are told from other archives, also a large one", async () => {
    const { directory, files } = open();
    mkdirSync(directory, { mode: 0o700 });
    const source = join(directory, "source");
    writeFileSync(source, randomBytes(300_000));
    // What Office writes, as far as the entries are named.
    const word = zipWith({
      "[Content_Types].xml": contentTypes("wordprocessingml.document"),
      "word/document.xml": "<x/>",
    });
    const docx = await files.write(pieces(word), { ...ABOUT, fileName: "a.zip" });
    expect(docx.mimeType).toBe("application/vnd.openxmlformats-officedocument.wordprocessingml.document");
    const zip = await files.write(zipOf(source, "a.bin"), { ...ABOUT, fileName: "a" });
    expect(zip).toMatchObject({ mimeType: "application/zip", fileName: "a.zip" });
  });

  test("UTF-8 text whose head ends within a character is text", async () => {
    const { files } = open();
    const text = Buffer.from(`a${"你".repeat(40_000)}`);
    expect((await files.write(pieces(text), ABOUT)).mimeType).toBe("text/plain");
  });
});

describe("pathOf, remove, sweep", () => {
  test("pathOf takes its own ids only", () => {
    const { directory, files } = open();
    const id = `m_${"0".repeat(32)}`;
    expect(files.pathOf(id)).toBe(join(directory, id));
    const bad = [
      "",
      "m_",
      `${id}0`,
      `${id}.part`,
      `../${id}`,
      `m_${"A".repeat(32)}`,
      `m_${"0".repeat(31)}/`,
      `${id}\n`,
      `${id}\0`,
    ];
    for (const one of bad) expect(() => files.pathOf(one), JSON.stringify(one)).toThrow(BridgeError);
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (any) => {
        expect(() => files.pathOf(any)).toThrow(expect.objectContaining({ code: "media_unknown" }));
      }),
    );
  });

  test("remove: files that are there and files that are not", async () => {
    const { directory, files } = open();
    const kept = await files.write(pieces("a"), ABOUT);
    const gone = await files.write(pieces("b"), ABOUT);
    await files.remove([gone.id, `m_${"0".repeat(32)}`]);
    expect(readdirSync(directory)).toEqual([kept.id]);
    await expect(files.remove(["../x"])).rejects.toMatchObject({ code: "media_unknown" });
  });

  test("sweep: unfinished files and files without a row go; what is not ours stays", async () => {
    const { directory, files } = open();
    expect(await files.sweep(new Set())).toBe(0);
    const known = await files.write(pieces("a"), ABOUT);
    await files.write(pieces("b"), ABOUT);
    const outside = join(temporaryDirectory(), "outside");
    writeFileSync(outside, "keep");
    writeFileSync(join(directory, `${known.id}.part`), "half");
    symlinkSync(outside, join(directory, `m_${"1".repeat(32)}`));
    writeFileSync(join(directory, "README"), "not ours");
    expect(await files.sweep(new Set([known.id]))).toBe(3);
    expect(readdirSync(directory).sort()).toEqual(["README", known.id].sort());
    expect(readFileSync(outside, "utf8")).toBe("keep");
  });

  test("a file that cannot be removed does not stop the others", async () => {
    const { directory, files } = open();
    const stuck = `m_${"2".repeat(32)}`;
    mkdirSync(join(directory, stuck), { recursive: true });
    const file = await files.write(pieces("a"), ABOUT);
    await files.remove([stuck, file.id]);
    expect(readdirSync(directory)).toEqual([stuck]);
    chmodSync(directory, 0o700);
  });
});

describe("zipOf", () => {
  test("one file inside, under its base name; the same bytes every time", async () => {
    const { directory, files } = open();
    const data = randomBytes(500_000);
    const file = await files.write(pieces(data), ABOUT);
    const about = { ...ABOUT, fileName: "图.webp.zip" };
    const once = await files.write(zipOf(files.pathOf(file.id), "../../图.webp"), about);
    const again = await files.write(zipOf(files.pathOf(file.id), "图.webp"), about);
    expect(once).toMatchObject({ mimeType: "application/zip", fileName: "图.webp.zip" });
    expect(again.sha256).toBe(once.sha256);
    expect(contentsOfZip(readFileSync(files.pathOf(once.id)))).toEqual([{ name: "图.webp", data }]);
    expect(readdirSync(directory)).toHaveLength(3);
  });

  test("a file that is not there, and an end before the end", async () => {
    const { files } = open();
    await expect(files.write(zipOf("/nowhere/at/all", "a"), ABOUT)).rejects.toMatchObject({ code: "ENOENT" });
    const file = await files.write(pieces(randomBytes(900_000)), ABOUT);
    const zipped = files.write(zipOf(files.pathOf(file.id), "a"), { ...ABOUT, maxBytes: 100_000 });
    await expect(zipped).rejects.toMatchObject({ code: "media_too_large" });
  });
});

const contentTypes = (kind: string): string =>
  `<Types><Override PartName="/x" ContentType="application/vnd.openxmlformats-officedocument.${kind}.main+xml"/></Types>`;

/** A stored (not compressed) archive, local entries only: what a sniffer looks at. */
function zipWith(entries: Record<string, string>): Buffer {
  return Buffer.concat(
    Object.entries(entries).map(([name, text]) => {
      const head = Buffer.alloc(30);
      head.writeUInt32LE(0x04034b50, 0);
      head.writeUInt16LE(20, 4);
      head.writeUInt32LE(text.length, 18);
      head.writeUInt32LE(text.length, 22);
      head.writeUInt16LE(name.length, 26);
      return Buffer.concat([head, Buffer.from(name), Buffer.from(text)]);
    }),
  );
}
