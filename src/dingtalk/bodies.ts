/** What a message says, for either route. The title of a Markdown message is what the chat list shows. */
export type SendContent = { type: "text"; text: string } | { type: "markdown"; title: string; text: string };

/** People to @, by staff id, or everybody. */
export interface Mentions {
  userIds?: readonly string[];
  all?: boolean;
}

/** More are refused by DingTalk (dingtalk-protocol.md §5.5). */
const MAX_MENTIONS = 50;

/** `msgKey` and the JSON string `msgParam` of the Open API (dingtalk-protocol.md §3.6). */
export function openApiMessage(content: SendContent): { msgKey: string; msgParam: string } {
  switch (content.type) {
    case "text":
      return { msgKey: "sampleText", msgParam: JSON.stringify({ content: content.text }) };
    case "markdown":
      return { msgKey: "sampleMarkdown", msgParam: JSON.stringify({ title: content.title, text: content.text }) };
  }
}

/** Body of a session webhook (dingtalk-protocol.md §3.2). Mentions beyond 50 are left out. */
export function webhookBody(content: SendContent, mentions: Mentions = {}): Record<string, unknown> {
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
  }
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
