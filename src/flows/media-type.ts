import { fileTypeFromBuffer } from "file-type";

/** What `sniffType` looks at: file-type needs some KB, the first entries of an Office file are within this. */
export const HEAD_BYTES = 64 * 1024;

const UNKNOWN = "application/octet-stream";

/** Kinds of text that only the name tells apart. None of them is ever shown inline. */
const TEXT_TYPES: Readonly<Record<string, string>> = {
  txt: "text/plain",
  log: "text/plain",
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  md: "text/markdown",
  markdown: "text/markdown",
  json: "application/json",
  json5: "application/json5",
  jsonl: "application/jsonl",
  yaml: "text/yaml",
  yml: "text/yaml",
  xml: "application/xml",
  html: "text/html",
  htm: "text/html",
  xhtml: "application/xhtml+xml",
  svg: "image/svg+xml",
  css: "text/css",
  js: "text/javascript",
  mjs: "text/javascript",
  ics: "text/calendar",
  vcf: "text/vcard",
};

const OFFICE = "application/vnd.openxmlformats-officedocument";

/** Containers that hold several kinds of document: the name may say which, within the container and no further. */
const WITHIN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "application/x-cfb": {
    doc: "application/msword",
    xls: "application/vnd.ms-excel",
    ppt: "application/vnd.ms-powerpoint",
    msg: "application/vnd.ms-outlook",
  },
  "application/zip": {
    docx: `${OFFICE}.wordprocessingml.document`,
    xlsx: `${OFFICE}.spreadsheetml.sheet`,
    pptx: `${OFFICE}.presentationml.presentation`,
  },
  "application/xml": { svg: "image/svg+xml", html: "text/html", htm: "text/html", xhtml: "application/xhtml+xml" },
};

/**
 * The MIME type of a file by its first bytes, without parameters. Never throws. The name decides only among kinds of text
 * and within containers (`x.doc` in an OLE container); what was declared elsewhere counts for nothing.
 * @param head the first HEAD_BYTES of the file, or all of it
 */
export async function sniffType(head: Uint8Array, fileName: string | undefined): Promise<string> {
  const extension = /\.([a-z0-9]{1,10})$/i.exec(fileName ?? "")?.[1]?.toLowerCase() ?? "";
  const found = await fileTypeOf(head);
  if (found === undefined) return textType(head, extension);
  const kinds = WITHIN[found];
  if (kinds !== undefined && Object.hasOwn(kinds, extension)) return kinds[extension] ?? found;
  if (found === "application/xml" && /<svg[\s>]/i.test(start(head))) return "image/svg+xml";
  // An Ogg file whose first stream file-type does not know: DingTalk's voice messages are such.
  if (found === "application/ogg") return "audio/ogg";
  return found;
}

async function fileTypeOf(head: Uint8Array): Promise<string | undefined> {
  try {
    const found = await fileTypeFromBuffer(head);
    return found?.mime.split(";", 1)[0];
  } catch {
    // Broken within its own format: then it is of no known type.
    return undefined;
  }
}

function textType(head: Uint8Array, extension: string): string {
  // Some bytes of C0 are in no text: what has them is not text whatever its name.
  if (head.length === 0 || head.some(isBinary)) return UNKNOWN;
  const named = Object.hasOwn(TEXT_TYPES, extension) ? TEXT_TYPES[extension] : undefined;
  // Also in an encoding of its own: spreadsheets write CSV in GBK.
  if (named !== undefined) return named;
  if (!isUtf8(head)) return UNKNOWN;
  const text = start(head);
  if (/^\s*(?:<!--[^]*?-->\s*)*<svg[\s>]/i.test(text)) return "image/svg+xml";
  if (/^\s*<(?:!doctype html|html|head|body|script)[\s>]/i.test(text)) return "text/html";
  return "text/plain";
}

/** Control characters other than tab, line feed, form feed, carriage return and escape. */
function isBinary(byte: number): boolean {
  return byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0c && byte !== 0x0d && byte !== 0x1b;
}

function isUtf8(head: Uint8Array): boolean {
  try {
    // The head may end within a character.
    new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: head.length >= HEAD_BYTES });
    return true;
  } catch {
    return false;
  }
}

function start(head: Uint8Array): string {
  return new TextDecoder().decode(head.subarray(0, 1_024));
}
