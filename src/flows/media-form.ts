import type { MediaFile } from "../queue/media-store.ts";
import type { MediaType } from "./outbound-content.ts";

/** DingTalk takes no larger file, and no larger voice message (dingtalk-protocol.md §3.8). */
export const LARGEST_BYTES = 20 * 1024 * 1024;
const LARGEST_VOICE_BYTES = 2 * 1024 * 1024;

/** How a file is shown in DingTalk: as what it was asked to be where DingTalk can, else as a file, packed if it has to be. */
export type MediaForm =
  | { kind: "image" }
  | { kind: "audio"; durationMs: number }
  | { kind: "video"; durationMs: number }
  | { kind: "file"; fileType: string }
  | { kind: "packed" };

/** Of what DingTalk's clients show as a picture (upload type `image`). */
const IMAGES: Readonly<Record<string, string>> = {
  "image/jpeg": "jpg",
  "image/gif": "gif",
  "image/png": "png",
  "image/bmp": "bmp",
  "image/x-ms-bmp": "bmp",
};
const VOICES: Readonly<Record<string, string>> = { "audio/amr": "amr", "audio/ogg": "ogg" };

/** `fileType` of `sampleFile` (dingtalk-protocol.md §3.6), by content. */
const FILE_TYPES: Readonly<Record<string, string>> = {
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
  "application/msword": "doc",
  "application/pdf": "pdf",
  "application/zip": "zip",
  "application/x-rar-compressed": "rar",
  "application/vnd.rar": "rar",
};

const own = (table: Readonly<Record<string, string>>, mimeType: string): string | undefined =>
  Object.hasOwn(table, mimeType) ? table[mimeType] : undefined;

export const isShownImage = ({ mimeType }: Pick<MediaFile, "mimeType">): boolean => own(IMAGES, mimeType) !== undefined;

/** Of a file that is not larger than LARGEST_BYTES. A voice or video without a known duration would not play. */
export function formOf(
  asked: MediaType,
  { mimeType, bytes, durationMs = 0 }: Pick<MediaFile, "mimeType" | "bytes" | "durationMs">,
): MediaForm {
  if (asked === "image" && own(IMAGES, mimeType) !== undefined) return { kind: "image" };
  if (asked === "audio" && own(VOICES, mimeType) !== undefined && durationMs > 0 && bytes <= LARGEST_VOICE_BYTES) {
    return { kind: "audio", durationMs };
  }
  if (asked === "video" && mimeType === "video/mp4" && durationMs > 0) return { kind: "video", durationMs };
  const fileType = own(FILE_TYPES, mimeType);
  return fileType === undefined ? { kind: "packed" } : { kind: "file", fileType };
}

/** The name with the extension by which DingTalk's upload and its clients know the type. */
export function nameFor(form: MediaForm, fileName: string, mimeType: string): string {
  switch (form.kind) {
    case "image":
      return withExtension(fileName, own(IMAGES, mimeType) ?? "png");
    case "audio":
      return withExtension(fileName, own(VOICES, mimeType) ?? "amr");
    case "video":
      return withExtension(fileName, "mp4");
    case "file":
      return withExtension(fileName, form.fileType);
    case "packed":
      return `${fileName}.zip`;
  }
}

function withExtension(fileName: string, extension: string): string {
  const has = fileName.toLowerCase().split(".").at(-1);
  return has === extension || (has === "jpeg" && extension === "jpg") ? fileName : `${fileName}.${extension}`;
}
