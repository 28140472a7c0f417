import fc from "fast-check";
import path from "node:path";
import { describe, expect, test } from "vitest";
import {
  cleanFileName,
  contentDisposition,
  fileNameIn,
  isInlineSafe,
  safeFileName,
} from "../../src/flows/media-name.ts";

/** Strings that are likely to hurt, besides any others. */
const anyName = fc.oneof(
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.string({ unit: "grapheme", maxLength: 300 }),
  fc
    .array(
      fc.constantFrom(
        "..",
        ".",
        "/",
        "\\",
        "\0",
        "\r\n",
        '"',
        "%",
        "%2e%2e%2f",
        "\u202e",
        "\ud800",
        "CON",
        "nul",
        ".",
        " ",
        "\u3000",
        ":",
        "*",
        "?",
        "<",
        ">",
        "|",
        ";",
        "'",
        "=",
        ".png",
        ".file",
        "a",
        "图",
        "👩‍👩‍👧",
        "\u2028",
        "filename*=",
      ),
      { maxLength: 40 },
    )
    .map((parts) => parts.join("")),
);
const anyType = fc.constantFrom(
  "image/png",
  "audio/ogg; codecs=opus",
  "application/octet-stream",
  "x",
  "",
  "../../x/y",
);

describe("safeFileName", () => {
  test.each([
    ["a.png", "image/png", "a.png"],
    ["/etc/passwd", "text/plain", "passwd.txt"],
    ["..\\..\\evil.docx", "application/zip", "evil.docx"],
    ["photo.file", "image/jpeg", "photo.jpg"],
    ["photo.file", "application/octet-stream", "photo.file"],
    ["photo", "image/jpeg", "photo.jpg"],
    ["photo.jpg", "image/png", "photo.jpg"],
    ["report 2024.10", "application/pdf", "report 2024.10.pdf"],
    ["voice", "audio/amr", "voice.amr"],
    ["voice", "audio/ogg; codecs=opus", "voice.ogg"],
    ["song", "audio/mpeg", "song.mp3"],
    [undefined, "image/png", "image.png"],
    [undefined, "application/pdf", "file.pdf"],
    ["..", "video/mp4", "video.mp4"],
    [".file", "image/png", "file.png"],
    ["con", "text/plain", "_con.txt"],
    ["NUL.txt", "text/plain", "_NUL.txt"],
    ["CON .file", "image/png", "_CON.png"],
    ["a\r\nSet-Cookie: x=1.txt", "text/plain", "a Set-Cookie_ x=1.txt"],
    ["报告\u202etxt.exe", "application/octet-stream", "报告 txt.exe"],
    [".htaccess", "text/plain", "htaccess.txt"],
    ["a. . .", "image/png", "a.png"],
    ["👩‍👩‍👧.png", "image/png", "👩‍👩‍👧.png"],
  ])("%j of %s is %s", (name, mimeType, expected) => {
    expect(safeFileName(name, mimeType)).toBe(expected);
  });

  test("without a name it is called after what it was sent as", () => {
    expect(safeFileName(undefined, "application/octet-stream", "audio")).toBe("audio");
    expect(safeFileName("", "video/mp4", "../x")).toBe("video.mp4");
  });

  test("a long name keeps its extension and whole characters", () => {
    const long = safeFileName(`${"图".repeat(500)}.docx`, "application/zip");
    expect(long).toBe(`${"图".repeat(65)}.docx`);
    expect(safeFileName("👍".repeat(500), "image/png")).toBe(`${"👍".repeat(49)}.png`);
  });

  test("any name: one path segment, printable, bounded, never empty, hidden or reserved, and stable", () => {
    fc.assert(
      fc.property(
        fc.option(anyName, { nil: undefined }),
        anyType,
        fc.option(anyName, { nil: undefined }),
        (name, mimeType, type) => {
          const safe = safeFileName(name, mimeType, type);
          expect(safe).not.toBe("");
          expect(safe).not.toMatch(/[/\\<>:"|?*]/);
          expect(safe).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u);
          expect(safe).not.toMatch(/^[.\s]|[.\s]$/u);
          expect(safe).not.toMatch(/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i);
          expect(Buffer.byteLength(safe)).toBeLessThanOrEqual(200);
          expect(path.join("/media", safe)).toBe(`/media/${safe}`);
          expect(path.win32.basename(safe)).toBe(safe);
          expect(safeFileName(safe, mimeType, type)).toBe(safe);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test("a name of megabytes costs nothing", () => {
    const name = `${"../".repeat(1_000_000)}a.png`;
    expect(safeFileName(name, "image/png")).toBe("a.png");
    expect(cleanFileName("\u202e".repeat(3_000_000))).toBe("");
  });
});

describe("contentDisposition", () => {
  test("plain ASCII as it is, anything else also encoded", () => {
    expect(contentDisposition("a b.png", true)).toBe('inline; filename="a b.png"');
    expect(contentDisposition("图 (1).png", false)).toBe(
      `attachment; filename="_ (1).png"; filename*=UTF-8''%E5%9B%BE%20%281%29.png`,
    );
    expect(contentDisposition('a"; x="\\.txt', false)).toMatch(/^attachment; filename="a_; x=__.txt"; filename\*=/);
  });

  test("any string: printable ASCII, two parameters at most, and it reads back", () => {
    fc.assert(
      fc.property(anyName, fc.boolean(), (name, inline) => {
        const header = contentDisposition(name, inline);
        expect(header).toMatch(
          /^(inline|attachment); filename="[\x20\x21\x23-\x5b\x5d-\x7e]*"(; filename\*=UTF-8''[\w!~.%-]*)?$/,
        );
        expect(fileNameIn(header) ?? "").toBe(name.toWellFormed());
        expect(() => new Headers({ "content-disposition": header })).not.toThrow();
      }),
      { numRuns: 5_000 },
    );
  });
});

describe("fileNameIn", () => {
  test.each([
    ["attachment", undefined],
    ["", undefined],
    ["attachment; filename=a.png", "a.png"],
    ['attachment; filename="a; b.png"', "a; b.png"],
    ['attachment;filename="a\\"b.png"', 'a"b.png'],
    ["attachment; FILENAME = a.png ; size=3", "a.png"],
    [`attachment; filename="x.png"; filename*=UTF-8''%e5%9b%be.png`, "图.png"],
    ["attachment; filename*=GBK''%CD%BC.png", "图.png"],
    ["attachment; filename=y.png; filename*=UTF-8''%ff", "y.png"],
    ["attachment; filename=y.png; filename*=nonsense''x", "y.png"],
    ["attachment; filename*=x.png", undefined],
    ['attachment; filename="%E5%9B%BE.png"', "图.png"],
    [`attachment; filename="${Buffer.from("图.png").toString("latin1")}"`, "图.png"],
    ['attachment; filename="caf\xe9.png"', "café.png"],
    ['attachment; filename=""', undefined],
  ])("%j", (header, expected) => {
    expect(fileNameIn(header)).toBe(expected);
  });

  test("any header: no exception", () => {
    fc.assert(
      fc.property(fc.oneof(anyName, fc.string({ unit: "binary" })), (rest) => {
        const name = fileNameIn(`attachment; ${rest}`);
        expect(name === undefined || name.length > 0).toBe(true);
      }),
    );
  });
});

test("isInlineSafe: nothing that can run a script", () => {
  for (const type of ["image/png", "IMAGE/JPEG", "image/gif", "image/webp", "audio/ogg", "audio/amr", "video/mp4"]) {
    expect(isInlineSafe(type), type).toBe(true);
  }
  const unsafe = ["image/svg+xml", "text/html", "text/plain", "application/pdf", "application/xml", "text/javascript"];
  const odd = [
    "",
    "image",
    "image/",
    "audio/x+xml",
    "video/mp4\r\nx: y",
    "image/png/x",
    "audio/",
    "application/octet-stream",
  ];
  for (const type of [...unsafe, ...odd]) expect(isInlineSafe(type), type).toBe(false);
});
