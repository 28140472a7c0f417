import type { EnvelopeMessage, EnvelopePart } from "./types.ts";

/** Why a part's file is missing, by part. */
export type Missing = ReadonlyMap<EnvelopePart, string>;
const NOTHING_MISSING: Missing = new Map();

/**
 * What the agent reads: the text, then a short note for every part that is neither text nor a file that OpenClaw was given. OpenClaw
 * names the files itself.
 */
export function textForAgent(message: EnvelopeMessage, missing: Missing = NOTHING_MISSING): string {
  const notes = message.parts.filter((part) => part.type !== "text" && (!part.media || missing.has(part)));
  return join(message.text, notes, missing);
}

/** The quoted message as text; undefined when DingTalk sent nothing but its id. */
export function quotedText(quote: EnvelopeMessage["quote"], missing: Missing = NOTHING_MISSING): string | undefined {
  if (!quote) return undefined;
  const notes = quote.parts.filter((part) => part.type !== "text");
  return join(quote.text, notes, missing) || undefined;
}

function join(text: string, notable: EnvelopePart[], missing: Missing): string {
  const notes = notable.map((part) => note(part, missing.get(part)));
  return [text, ...notes].filter((line) => line !== "").join("\n");
}

function note(part: EnvelopePart, reason: string | undefined): string {
  const name = part.media?.fileName ?? part.fileName;
  const what = name ? `${part.type}: ${name}` : part.type;
  return reason === undefined ? `[${what}]` : `[${what}, not available: ${reason}]`;
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

/** Lines one below the other, without the empty ones. */
export const lines = (...all: string[]): string => all.filter((line) => line !== "").join("\n");

/** The last part of a path of either kind. */
export const baseName = (path: string): string => path.split(/[/\\]/).at(-1) ?? path;
