import type { EnvelopeMessage, EnvelopePart } from "./types.ts";

/** What the agent reads: the text, then a short note for everything that is not text. */
export function textForAgent(message: EnvelopeMessage): string {
  return join(message.text, message.parts);
}

/** The quoted message as text; undefined when DingTalk sent nothing but its id. */
export function quotedText(quote: EnvelopeMessage["quote"]): string | undefined {
  return quote && (join(quote.text, quote.parts) || undefined);
}

function join(text: string, parts: EnvelopePart[]): string {
  const notes = parts.filter((part) => part.type !== "text").map(note);
  return [text, ...notes].filter((line) => line !== "").join("\n");
}

function note(part: EnvelopePart): string {
  const name = part.media?.fileName ?? part.fileName;
  return name ? `[${part.type}: ${name}]` : `[${part.type}]`;
}

/**
 * Signs of Markdown that DingTalk would show as bare characters in a text message: emphasis, code, a heading, a list, a
 * quote, a link, a table, a rule.
 */
const MARKUP = [
  /\*\*\S|__\S|~~\S|`[^`\n]+`|```/,
  /^ {0,3}#{1,6} \S/m,
  /^ {0,3}(?:[-*+]|\d{1,3}[.)]) +\S/m,
  /^ {0,3}> ?\S/m,
  /\[[^\]\n]+\]\([^)\s]+\)/,
  /^\|.*\|\s*$/m,
  /^ {0,3}(?:-{3,}|\*{3,}|_{3,})\s*$/m,
];

/** Markdown when the text has markup, plain text otherwise: DingTalk shows plain text without a title in its list. */
export function contentOf(text: string): { type: "text" | "markdown"; text: string } {
  return { type: MARKUP.some((sign) => sign.test(text)) ? "markdown" : "text", text };
}

/** The words of an answer; files that come with it are named by their address, or by their name when they are local. */
export function replyText(payload: {
  text?: string | undefined;
  mediaUrl?: string | undefined;
  mediaUrls?: string[] | undefined;
}): string {
  const media = payload.mediaUrls?.length ? payload.mediaUrls : [payload.mediaUrl];
  const lines = media
    .filter((url) => url !== undefined)
    .map((url) => (/^https?:/i.test(url) ? url : `[file: ${baseName(url)}]`));
  return [payload.text?.trim() ?? "", ...lines].filter((line) => line !== "").join("\n");
}

const baseName = (path: string): string => path.split(/[/\\]/).at(-1) ?? path;
