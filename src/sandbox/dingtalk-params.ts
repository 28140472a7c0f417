import { isFilled, isObject } from "./dingtalk-api.ts";

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

function requiredOf(msgKey: string): readonly string[] | undefined {
  const buttons = /^sampleActionCard([2-5])$/.exec(msgKey)?.[1];
  if (buttons === undefined) return Object.hasOwn(required, msgKey) ? required[msgKey] : undefined;
  const pairs = Array.from({ length: Number(buttons) }, (_, i) => [`actionTitle${i + 1}`, `actionURL${i + 1}`]);
  return ["title", "text", ...pairs.flat()];
}

/**
 * Judges `msgKey` and `msgParam` of the Open API (dingtalk-protocol.md §3.6). Returns the error code of Appendix A and its
 * message, or what the message says.
 */
export function judgeParams(
  msgKey: unknown,
  msgParam: unknown,
  maxBytes: number,
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
  if (msgKey === "sampleFile" && !fileTypes.has(String(raw["fileType"]))) {
    return { code: "invalidParameter.param.invalid", message: "参数不合法: sampleFile.fileType" };
  }
  const text = [raw["content"], raw["text"]].find((value) => typeof value === "string") ?? "";
  const title = raw["title"];
  return { raw, shown: { text, ...(typeof title === "string" ? { title } : {}) } };
}
