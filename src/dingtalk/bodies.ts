/** A message that either route takes. The title of a Markdown message is what the chat list shows. */
export type WebhookContent =
  | { type: "text"; text: string }
  | { type: "markdown"; title: string; text: string }
  | { type: "link"; title: string; text: string; url: string; imageUrl?: string }
  | {
      type: "actionCard";
      title: string;
      text: string;
      /** 1 to 5, side by side exactly 2. */
      buttons: readonly { title: string; url: string }[];
      layout?: "vertical" | "horizontal";
    };

/** An uploaded file; ids are those of `MediaApi.upload`. */
export type FileContent =
  | { type: "image"; mediaId: string }
  /** amr or ogg. */
  | { type: "audio"; mediaId: string; durationMs: number }
  /** mp4. */
  | { type: "video"; mediaId: string; coverId: string; durationMs: number; width?: number; height?: number }
  /** `fileType` is xlsx, pdf, zip, rar, doc or docx: `sampleFile` takes no others (dingtalk-protocol.md §3.6). */
  | { type: "file"; mediaId: string; fileName: string; fileType: string };

/** What a message says, ready for the wire. Files go by the Open API only (dingtalk-protocol.md §3.2). */
export type SendContent = WebhookContent | FileContent;

/** People to @, by staff id, or everybody. */
export interface Mentions {
  userIds?: readonly string[];
  all?: boolean;
}

/** More are refused by DingTalk (dingtalk-protocol.md §5.5). */
const MAX_MENTIONS = 50;

/** `msgKey` and the JSON string `msgParam` of the Open API (dingtalk-protocol.md §3.6). */
export function openApiMessage(content: SendContent): { msgKey: string; msgParam: string } {
  const { msgKey, param } = sample(content);
  return { msgKey, msgParam: JSON.stringify(param) };
}

function sample(content: SendContent): { msgKey: string; param: Record<string, string> } {
  switch (content.type) {
    case "text":
      return { msgKey: "sampleText", param: { content: content.text } };
    case "markdown":
      return { msgKey: "sampleMarkdown", param: { title: content.title, text: content.text } };
    case "image":
      return { msgKey: "sampleImageMsg", param: { photoURL: content.mediaId } };
    case "audio": {
      const duration = String(Math.max(1, Math.round(content.durationMs)));
      return { msgKey: "sampleAudio", param: { mediaId: content.mediaId, duration } };
    }
    case "video": {
      const { mediaId, coverId, durationMs, width, height } = content;
      const size = width && height ? { width: String(width), height: String(height) } : {};
      const duration = String(Math.max(1, Math.round(durationMs / 1_000)));
      const param = { duration, videoMediaId: mediaId, videoType: "mp4", picMediaId: coverId, ...size };
      return { msgKey: "sampleVideo", param };
    }
    case "file": {
      const { mediaId, fileName, fileType } = content;
      return { msgKey: "sampleFile", param: { mediaId, fileName, fileType } };
    }
    case "link": {
      const { title, text, url, imageUrl } = content;
      return { msgKey: "sampleLink", param: { title, text, messageUrl: url, ...(imageUrl && { picUrl: imageUrl }) } };
    }
    case "actionCard":
      return sampleActionCard(content);
  }
}

/** One key for each number of buttons, and one for two side by side, each with names of its own. */
function sampleActionCard(content: Extract<SendContent, { type: "actionCard" }>) {
  const { title, text, buttons, layout } = content;
  const [first] = buttons;
  if (buttons.length === 1 && first) {
    return { msgKey: "sampleActionCard", param: { title, text, singleTitle: first.title, singleURL: first.url } };
  }
  const names = layout === "horizontal" ? ["buttonTitle", "buttonUrl"] : ["actionTitle", "actionURL"];
  const pairs = buttons.flatMap((button, index) => [
    [`${names[0]}${index + 1}`, button.title],
    [`${names[1]}${index + 1}`, button.url],
  ]);
  const msgKey = `sampleActionCard${layout === "horizontal" ? 6 : buttons.length}`;
  return { msgKey, param: { title, text, ...Object.fromEntries(pairs) } };
}

/** Body of a session webhook (dingtalk-protocol.md §3.2). Mentions beyond 50 are left out; a link cannot have any. */
export function webhookBody(content: WebhookContent, mentions: Mentions = {}): Record<string, unknown> {
  const ids = [...new Set(mentions.userIds)].filter((id) => id !== "").slice(0, MAX_MENTIONS);
  const all = mentions.all === true;
  const at = ids.length > 0 || all ? { at: { atUserIds: ids, isAtAll: all } } : {};
  switch (content.type) {
    case "text":
      return { msgtype: "text", text: { content: withMentions(content.text, ids, " ") }, ...at };
    case "markdown": {
      const text = withMentions(content.text, ids, "\n\n");
      return { msgtype: "markdown", markdown: { title: content.title, text }, ...at };
    }
    case "link": {
      const { title, text, url, imageUrl } = content;
      return { msgtype: "link", link: { title, text, messageUrl: url, ...(imageUrl && { picUrl: imageUrl }) } };
    }
    case "actionCard": {
      const { title, buttons, layout } = content;
      const card = { title, text: withMentions(content.text, ids, "\n\n") };
      return { msgtype: "actionCard", actionCard: { ...card, ...webhookButtons(buttons, layout) }, ...at };
    }
  }
}

function webhookButtons(buttons: readonly { title: string; url: string }[], layout = "vertical") {
  const btnOrientation = layout === "horizontal" ? "1" : "0";
  const [first] = buttons;
  if (buttons.length === 1 && first) return { singleTitle: first.title, singleURL: first.url, btnOrientation };
  return { btns: buttons.map(({ title, url }) => ({ title, actionURL: url })), btnOrientation };
}

/** DingTalk notifies a person only when the id stands in the text too. */
function withMentions(text: string, ids: readonly string[], seam: string): string {
  const missing = ids.filter((id) => !isMentioned(text, id)).map((id) => `@${id}`);
  return missing.length === 0 ? text : `${text}${seam}${missing.join(" ")}`;
}

/** `@staff00` is not a mention in `@staff001`. */
function isMentioned(text: string, id: string): boolean {
  const wanted = `@${id}`;
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
    if (!/^[\w-]/.test(text.slice(at + wanted.length))) return true;
  }
  return false;
}
