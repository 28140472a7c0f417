import type { MediaPart } from "../domain/envelope.ts";
import type { Draft } from "./draft.ts";
import { idOf, stringOf, type JsonObject } from "./json.ts";

/** Pictures come with two codes, either of which can be exchanged (dingtalk-protocol.md §2.4). */
export function codeOf(content: JsonObject): string | undefined {
  return idOf(content.downloadCode, content.pictureDownloadCode);
}

/** A number is milliseconds, a string seconds: the sources disagree (dingtalk-protocol.md §2.6). */
function durationOf(value: unknown): number | undefined {
  if (typeof value === "string" && /^\d{1,9}(?:\.\d{1,6})?$/.test(value)) return Math.round(Number(value) * 1_000);
  if (typeof value !== "number" || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) return undefined;
  return Math.round(value);
}

/** One file: picture, voice message, video or document. */
export function readMedia(type: MediaPart["type"], content: JsonObject, draft: Draft): void {
  draft.file(type, {
    downloadCode: codeOf(content),
    recognition: stringOf(content.recognition),
    fileName: stringOf(content.fileName),
    durationMs: durationOf(content.duration),
  });
}
