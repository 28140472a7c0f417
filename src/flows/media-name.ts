import mime from "mime";

/** Room for a suffix such as ".zip" within the 255 bytes that file systems take. */
const MAX_BYTES = 200;
/** A name is the end of a path; what is before that many UTF-16 units of it is not looked at. */
const MAX_INPUT = 4_096;

/** DOS devices: Windows opens them whatever the extension. */
const RESERVED = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)/i;
/** With a letter in it, so that "report 2024.10" has none. */
const EXTENSION = /\.(?=[0-9]*[a-z])[a-z0-9]{1,10}$/i;
/** DingTalk's name for "no idea what this is" (dingtalk-protocol.md §2.6). */
const NO_EXTENSION = /(?:[\s.]*\.file)+$/i;

/** Where the registry's first extension is not what people and DingTalk expect (`oga`, `mpga`), or it knows none. */
const USUAL: Readonly<Record<string, string>> = {
  "audio/ogg": "ogg",
  "audio/mpeg": "mp3",
  "audio/amr": "amr",
  "audio/wav": "wav",
  "audio/x-m4a": "m4a",
};

/**
 * A name that is safe as a file name on every system, in a header and in a chat: the base name only, without control
 * characters, bidi overrides, characters that Windows refuses and reserved names, at most 200 bytes of UTF-8, never empty,
 * never with a dot in front. An extension is added by `mimeType` when the name has none or DingTalk's ".file"; one that is
 * there stays. Without a usable name it is called after `type` ("image", "audio"…), else after the MIME type.
 */
export function safeFileName(name: string | undefined, mimeType: string, type?: string): string {
  const clean = cleanFileName(name ?? "");
  const extension = extensionOf(mimeType);
  if (extension === undefined) return clean || stemFor(mimeType, type);
  const stem = trimmed(clean.replace(NO_EXTENSION, "")) || stemFor(mimeType, type);
  return EXTENSION.test(stem) ? stem : bounded(`${stem}.${extension}`);
}

/** As `safeFileName`, without touching the extension; empty when nothing usable is left. */
export function cleanFileName(name: string): string {
  const base = name.slice(-MAX_INPUT).toWellFormed().normalize("NFC").split(/[/\\]/).at(-1) ?? "";
  // Joiners stay: emoji and some scripts are made with them. Other format characters can make a name look like another.
  const visible = base.replace(/(?![\u{200c}\u{200d}])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/gu, " ");
  const plain = trimmed(visible.replace(/[<>:"|?*]/g, "_").replace(/\s+/gu, " "));
  return bounded(RESERVED.test(plain) ? `_${plain}` : plain);
}

/** The usual file extension without a dot; undefined for types that say nothing. */
function extensionOf(mimeType: string): string | undefined {
  const bare = mimeType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (bare === "application/octet-stream") return undefined;
  return USUAL[bare] ?? (mime.getExtension(bare) || undefined);
}

/** Leading dots hide a file and trailing ones are dropped by Windows. */
function trimmed(name: string): string {
  return name.replace(/^[\s.]+/u, "").replace(/[\s.]+$/u, "");
}

function stemFor(mimeType: string, type: string | undefined): string {
  if (type !== undefined && /^(?:image|file|audio|video)$/.test(type)) return type;
  return /^(image|audio|video)\//.exec(mimeType)?.[1] ?? "file";
}

/** Cuts the stem, never the extension and never inside a character. */
function bounded(name: string): string {
  if (Buffer.byteLength(name) <= MAX_BYTES) return name;
  const extension = EXTENSION.exec(name)?.[0] ?? "";
  let room = MAX_BYTES - extension.length;
  let stem = "";
  for (const character of name.slice(0, name.length - extension.length)) {
    room -= Buffer.byteLength(character);
    if (room < 0) break;
    stem += character;
  }
  return trimmed(stem) + extension;
}

/**
 * A `Content-Disposition` value (RFC 6266): printable ASCII whatever the name is; a name beyond that goes as
 * `filename*` (RFC 8187) besides a fallback.
 */
export function contentDisposition(fileName: string, inline: boolean): string {
  const name = fileName.toWellFormed();
  // A percent sign is decoded by some clients, a quote or backslash ends or escapes.
  const fallback = name.replace(/[^\x20-\x7e]|["\\%]/gu, "_");
  const plain = `${inline ? "inline" : "attachment"}; filename="${fallback}"`;
  if (fallback === name) return plain;
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `${plain}; filename*=UTF-8''${encoded}`;
}

/**
 * The file name in a `Content-Disposition` header that somebody else wrote, as it stands there: not safe yet. `filename*`
 * goes first; a plain one is also read as what servers put there against the rules, UTF-8 bytes or percent signs.
 */
export function fileNameIn(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const found = new Map<string, string>();
  for (const [, name, quoted, bare] of header.matchAll(/;\s*([a-z*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))/gi)) {
    const key = name?.toLowerCase() ?? "";
    if (!found.has(key)) found.set(key, quoted?.replace(/\\(.)/g, "$1") ?? bare?.trim() ?? "");
  }
  const [, charset, value] = /^([^']*)'[^']*'(.*)$/.exec(found.get("filename*") ?? "") ?? [];
  const extended = charset === undefined ? undefined : decode(percentBytes(value ?? ""), charset);
  const plain = found.get("filename");
  const name = extended ?? (plain === undefined ? undefined : asMeant(plain));
  return name === "" ? undefined : name;
}

function asMeant(plain: string): string {
  if (/%[0-9a-f]{2}/i.test(plain)) return decode(percentBytes(plain), "utf-8") ?? plain;
  const isBytes = /[\x80-\xff]/.test(plain) && !/[^\0-\xff]/.test(plain);
  return (isBytes ? decode(Buffer.from(plain, "latin1"), "utf-8") : undefined) ?? plain;
}

function percentBytes(text: string): Buffer {
  const pieces = text.split(/%([0-9a-f]{2})/i);
  return Buffer.concat(pieces.map((piece, index) => Buffer.from(piece, index % 2 === 1 ? "hex" : "utf8")));
}

function decode(bytes: Buffer, charset: string): string | undefined {
  try {
    return new TextDecoder(charset, { fatal: true }).decode(bytes);
  } catch {
    // An unknown charset, or bytes that are not in it: there is no name.
    return undefined;
  }
}

const RASTER = new Set(["png", "apng", "jpeg", "gif", "webp", "bmp", "avif", "heic", "heif", "tiff"]);

/** Whether a browser may show it by itself: raster images, audio and video; nothing that can hold a script (SVG, HTML, PDF). */
export function isInlineSafe(mimeType: string): boolean {
  const [, major, minor = ""] = /^([a-z]+)\/([a-z0-9][a-z0-9.-]*)$/.exec(mimeType.toLowerCase()) ?? [];
  return major === "audio" || major === "video" || (major === "image" && RASTER.has(minor));
}
