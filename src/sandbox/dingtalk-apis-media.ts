import { badRequest, isFilled, type ApiCall, type ApiContext, type ApiDefinition } from "./dingtalk-api.ts";
import { oapiError, ok, type ApiAnswer } from "./dingtalk-errors.ts";
import { fileAnswer, objectErrors } from "./dingtalk-media-serve.ts";
import type { UploadedFile } from "./dingtalk-types.ts";

const MB = 1024 * 1024;
/** What an upload of each type may be (dingtalk-protocol.md §3.8). */
const uploads: Record<UploadedFile["type"], { maxBytes: number; formats: readonly string[] }> = {
  image: { maxBytes: 20 * MB, formats: ["jpg", "jpeg", "gif", "png", "bmp"] },
  voice: { maxBytes: 2 * MB, formats: ["amr", "mp3", "wav"] },
  video: { maxBytes: 20 * MB, formats: ["mp4"] },
  file: { maxBytes: 20 * MB, formats: ["doc", "docx", "xls", "xlsx", "ppt", "pptx", "zip", "pdf", "rar"] },
};
const isType = (type: string): type is UploadedFile["type"] => Object.hasOwn(uploads, type);

function upload({ app, form, query }: ApiCall, { knobs, media, records }: ApiContext): ApiAnswer {
  if (!form) return oapiError(43004, "无效的HTTP HEADER Content-Type");
  if (!query.has("type")) records.problem("media/upload: type is not in the query, where every client puts it");
  const type = query.get("type") ?? form.type ?? "";
  if (!isType(type)) return oapiError(40004, "不合法的媒体文件类型");
  const { media: part } = form;
  if (!part || !app) {
    const others = form.strangers.join(", ");
    if (others !== "") records.problem(`media/upload: the file's part is named "${others}" instead of "media"`);
    return oapiError(41005, "缺少多媒体文件");
  }
  const { maxBytes, formats } = uploads[type];
  const format = /\.([^.]+)$/.exec(part.fileName)?.[1]?.toLowerCase() ?? "";
  const isFormat = formats.includes(format) || (type === "voice" && format === "ogg" && knobs.uploadOgg);
  if (!isFormat) return oapiError(40005, "不合法的文件类型");
  if (part.bytes === 0) return oapiError(44001, "多媒体文件为空");
  if (part.bytes > maxBytes) return oapiError(40006, "不合法的文件大小");
  const { mediaId, at } = media.keep(app, type, part);
  return ok({ errcode: 0, errmsg: "ok", type, media_id: mediaId, created_at: at });
}

function download({ app, json }: ApiCall, context: ApiContext): ApiAnswer {
  const { media } = context;
  if (!json || !app) return badRequest("invalidParameter.msgBody.invalid", "body必须是JSON");
  const { robotCode, downloadCode } = json;
  if (!isFilled(robotCode)) return badRequest("invalidParameter.robotCode.empty", "机器人robotCode为空");
  if (!isFilled(downloadCode)) return badRequest("invalidParameter.robotCode.empty", "机器人downloadCode为空");
  if (robotCode !== app.robotCode) {
    return badRequest("invalidParameter.robotCode.auth", "此应用appkey和机器人robotCode不匹配");
  }
  const file = media.exchange(downloadCode, app);
  if (file === "expired") return badRequest("invalidParameter.robotCode.downloadCode", "下载码有误或者已经过期");
  if (file === "other robot") {
    return badRequest(
      "invalidParameter.robotCode.auth",
      "此downloadCode和机器人robotCode不匹配，请使用接收此条消息机器人robotCode和对应的downloadCode",
    );
  }
  return ok({ downloadUrl: `${context.url().http}${media.link(file)}` });
}

const secretOf = ({ params }: ApiCall): string => (params["name"] ?? "").replace(/\.file$/, "");

function file(call: ApiCall, { media, records }: ApiContext): ApiAnswer {
  if ("x-acs-dingtalk-access-token" in call.headers || "authorization" in call.headers) {
    records.problem("file: credentials were sent to the object store");
  }
  const linked = media.linked(secretOf(call));
  // The rest of the address is signed as well.
  if (linked === "unknown" || !call.query.has("Expires") || !call.query.has("Signature")) return objectErrors.unknown();
  return linked === "expired" ? objectErrors.expired() : fileAnswer(linked, call.headers.range);
}

/** Files in both directions (dingtalk-protocol.md §3.8, §3.9). */
export const mediaApis: ApiDefinition[] = [
  {
    name: "media/upload",
    method: "POST",
    path: "/media/upload",
    host: "oapi",
    multipart: true,
    auth: "token",
    scope: "qyapi_base",
    paid: true,
    limited: true,
    handle: upload,
  },
  {
    name: "messageFiles/download",
    method: "POST",
    path: "/v1.0/robot/messageFiles/download",
    host: "api",
    auth: "token",
    scope: "qyapi_robot_sendmsg",
    paid: true,
    limited: true,
    handle: download,
  },
  {
    name: "file",
    method: "GET",
    path: "/sandbox-files/:name",
    host: "oss",
    auth: "none",
    identify: (call, { media }) => media.appOfLink(secretOf(call)),
    paid: false,
    limited: false,
    handle: file,
  },
];
