import { createHash } from "node:crypto";
import type { EnvelopeMessage, MediaPart, MediaRef, MessageEnvelope, MessagePart, Quote } from "../domain/envelope.ts";
import type { BridgeAnswer, BridgeCalls } from "./gateway-calls.ts";
import { messageOf } from "./gateway-replies.ts";
import { headOf, sizeText } from "./terminal-text.ts";

const isFile = (part: MessagePart): part is MediaPart => part.type !== "text";

export const hasFiles = ({ parts }: EnvelopeMessage): boolean => parts.some(isFile);

/** Answers a message with files by a text that names them, and by the same files. */
export async function answerFiles(calls: BridgeCalls, envelope: MessageEnvelope): Promise<BridgeAnswer | undefined> {
  const { account, message } = envelope;
  const lines: string[] = [];
  const files = message.parts.filter(isFile);
  for (const file of files) lines.push(`- ${await describe(calls, account, file)}`);
  const heading = message.text === "" ? "收到文件:" : `收到:${message.text}`;
  let answer = await calls.insist(messageOf(envelope, { type: "text", text: [heading, ...lines].join("\n") }));
  for (const [index, { type, media }] of files.entries()) {
    if (!media) continue;
    const { id, fileName } = media;
    answer = await calls.insist(messageOf(envelope, { type, media: { id }, ...(fileName && { fileName }) }, index + 2));
  }
  return answer;
}

async function describe(calls: BridgeCalls, account: string, { type, media, error }: MediaPart): Promise<string> {
  if (!media) return `${type}: ${error?.code ?? "no file"}${error ? ` (${error.detail})` : ""}`;
  const { fileName, mimeType, bytes, durationMs } = media;
  const length = durationMs === undefined ? [] : [`${durationMs / 1_000} s`];
  const facts = [`${type} ${fileName ?? media.id}`, mimeType, sizeText(bytes), ...length];
  return [...facts, await hashOf(calls, account, media)].join(", ");
}

async function hashOf(calls: BridgeCalls, account: string, { url, bytes }: MediaRef): Promise<string> {
  const answer = await calls.insist({ account, method: "GET", path: url, timeoutMs: 60_000 });
  if (!answer?.ok) return `not to be had: status ${answer?.status ?? "none"}`;
  const hash = createHash("sha256").update(answer.bytes).digest("hex").slice(0, 8);
  return answer.bytes.length === bytes ? `sha256 ${hash}` : `sha256 ${hash}, but ${sizeText(answer.bytes.length)} came`;
}

/** What a quote says in one line; undefined when it says nothing. */
export function quoteLine({ text, parts }: Quote): string | undefined {
  const files = parts
    .filter(isFile)
    .map(({ type, media, fileName }) => `[${type} ${media?.fileName ?? fileName ?? ""}]`);
  const words = [text, ...files].filter((word) => word.trim() !== "").join(" ");
  return words === "" ? undefined : headOf(words, 60);
}
