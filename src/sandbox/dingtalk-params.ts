import { isFilled, isObject } from "./dingtalk-api.ts";
import type { UploadedFile } from "./dingtalk-types.ts";

/** What a message says, for the records. */
export interface Shown {
  text: string;
  title?: string;
}

const required: Record<string, readonly string[]> = {
  sampleText: ["content"],
  sampleMarkdown: ["title", "text"],
  sampleImageMsg: ["photoURL"],
  sampleLink: ["title", "text", "messageUrl"],
  sampleActionCard: ["title", "text", "singleTitle", "singleURL"],
  sampleActionCard6: ["title", "text", "buttonTitle1", "buttonUrl1", "buttonTitle2", "buttonUrl2"],
  sampleAudio: ["mediaId", "duration"],
  sampleFile: ["mediaId", "fileName", "fileType"],
  sampleVideo: ["duration", "videoMediaId", "videoType", "picMediaId"],
};
const fileTypes = new Set(["xlsx", "pdf", "zip", "rar", "doc", "docx"]);

/** Members that carry a media id, and the type as which it must have been uploaded. */
const mediaIn: Record<string, Record<string, UploadedFile["type"]>> = {
  sampleImageMsg: { photoURL: "image" },
  sampleAudio: { mediaId: "voice" },
  sampleFile: { mediaId: "file" },
  sampleVideo: { videoMediaId: "video", picMediaId: "image" },
};

const isCount = (value: unknown): boolean => typeof value === "string" && /^[1-9]\d*$/.test(value);

/** What is wrong with the values of a message that carries a file, if anything. */
function wrongMedia(msgKey: string, raw: Record<string, unknown>): string | undefined {
  if (msgKey === "sampleFile" && !fileTypes.has(String(raw["fileType"]))) return "sampleFile.fileType";
  if ((msgKey === "sampleAudio" || msgKey === "sampleVideo") && !isCount(raw["duration"])) return `${msgKey}.duration`;
  if (msgKey !== "sampleVideo") return undefined;
  if (raw["videoType"] !== "mp4") return "sampleVideo.videoType";
  return ["width", "height"].map((side) => raw[side]).every((side) => side === undefined || isCount(side))
    ? undefined
    : "sampleVideo.width";
}

function requiredOf(msgKey: string): readonly string[] | undefined {
  const buttons = /^sampleActionCard([2-5])$/.exec(msgKey)?.[1];
  if (buttons === undefined) return Object.hasOwn(required, msgKey) ? required[msgKey] : undefined;
  const pairs = Array.from({ length: Number(buttons) }, (_, i) => [`actionTitle${i + 1}`, `actionURL${i + 1}`]);
  return ["title", "text", ...pairs.flat()];
}

/**
 * Judges `msgKey` and `msgParam` of the Open API (dingtalk-protocol.md §3.6). `isUsable` knows the media ids. Returns the error code of Appendix A and its
 * message, or what the message says.
 */
export function judgeParams(
  msgKey: unknown,
  msgParam: unknown,
  maxBytes: number,
  isUsable: (mediaId: unknown, type: UploadedFile["type"]) => boolean,
): { code: string; message: string } | { shown: Shown; raw: Record<string, unknown> } {
  if (!isFilled(msgKey)) return { code: "invalidParameter.msgKey.empty", message: "缺少msgKey" };
  const keys = requiredOf(msgKey);
  if (!keys) return { code: "invalidParameter.msgKey.invalid", message: "msgKey无效" };
  const invalid = { code: "invalidParameter.msgParam.invalid", message: "msgParam必须是json格式" };
  if (!isFilled(msgParam)) return invalid;
  if (Buffer.byteLength(msgParam) > maxBytes) {
    return { code: "invalidParameter.msgParam.tooLong", message: "消息内容太长" };
  }
  let raw: unknown;
  try {
    raw = JSON.parse(msgParam);
  } catch {
    return invalid;
  }
  if (!isObject(raw)) return invalid;
  const missing = keys.find((key) => !isFilled(raw[key]));
  if (missing !== undefined) {
    return { code: "invalidParameter.param.invalid", message: `参数不合法: ${msgKey}.${missing}` };
  }
  const wrong = wrongMedia(msgKey, raw);
  if (wrong !== undefined) return { code: "invalidParameter.msgParam.invalid", message: `参数不合法: ${wrong}` };
  for (const [key, type] of Object.entries(mediaIn[msgKey] ?? {})) {
    if (key === "photoURL" && /^https?:\/\//i.test(String(raw[key]))) continue;
    if (!isUsable(raw[key], type)) return { code: "invalid.media.id", message: `invalid media id: ${msgKey}.${key}` };
  }
  const text = [raw["content"], raw["text"]].find((value) => typeof value === "string") ?? "";
  const title = raw["title"];
  return { raw, shown: { text, ...(typeof title === "string" ? { title } : {}) } };
}
