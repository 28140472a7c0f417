import { publicTemplate } from "./dingtalk-card-knobs.ts";
import type { SimulatedCard } from "./dingtalk-card-types.ts";
import type { SentMessage, UploadedFile } from "./dingtalk-types.ts";
import { DEMO_CARD } from "./gateway-demo-words.ts";
import { sizeText } from "./terminal-text.ts";

type FileOf = (mediaId: string) => UploadedFile | undefined;
type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (value: unknown): Fields => (typeof value === "object" && value !== null ? (value as Fields) : {});
const wordsOf = (value: unknown): string => (typeof value === "string" ? value : "");
const secondsOf = (value: unknown, unitMs: number): string => `${Math.round((Number(value) * unitMs) / 100) / 10} s`;

/** What a person sees of a message, several lines where it has them. */
export function messageText(sent: SentMessage, fileOf: FileOf): string {
  const fields = sent.msgtype === undefined ? fieldsOf(sent.raw) : fieldsOf(fieldsOf(sent.raw)[sent.msgtype]);
  const kind = sent.msgtype ?? sent.msgKey ?? "";
  if (kind === "sampleImageMsg") return pictureText(wordsOf(fields["photoURL"]), fileOf);
  if (kind === "sampleFile") return bracketed("file", fields["fileName"], fileOf(wordsOf(fields["mediaId"])));
  if (kind === "sampleAudio") return `[audio ${secondsOf(fields["duration"], 1)}]`;
  if (kind === "sampleVideo") {
    return bracketed("video", secondsOf(fields["duration"], 1_000), fileOf(wordsOf(fields["videoMediaId"])));
  }
  if (/link$/i.test(kind)) return linkText(fields);
  if (/^(?:sampleA|a)ctionCard\d?$/.test(kind)) return actionCardText(fields, fileOf);
  return withPictures(sent.text, fileOf);
}

function bracketed(kind: string, name: unknown, file: UploadedFile | undefined): string {
  const size = file ? ` ${sizeText(file.bytes)}` : "";
  return `[${kind} ${wordsOf(name)}${size}]`;
}

function pictureText(target: string, fileOf: FileOf): string {
  const file = fileOf(target);
  return bracketed("image", file?.fileName ?? target, file);
}

/** Markdown as it is, with what is known of its pictures in place of their media ids. */
function withPictures(markdown: string, fileOf: FileOf): string {
  return markdown.replaceAll(/!\[[^\]]*\]\((@[^)\s]+)[^)]*\)/g, (_whole, target: string) =>
    pictureText(target, fileOf),
  );
}

function linkText({ title, text, messageUrl }: Fields): string {
  return [`[link ${wordsOf(title)}]`, wordsOf(text), wordsOf(messageUrl)].join("\n");
}

/** Its buttons have names of their own in each of DingTalk's forms. */
function actionCardText(fields: Fields, fileOf: FileOf): string {
  const { btns, singleTitle, singleURL } = fields;
  const listed: unknown[] = Array.isArray(btns) ? btns : [];
  const numbered = [1, 2, 3, 4, 5].map((n) => ({
    title: fields[`actionTitle${n}`] ?? fields[`buttonTitle${n}`],
    actionURL: fields[`actionURL${n}`] ?? fields[`buttonUrl${n}`],
  }));
  const buttons = [{ title: singleTitle, actionURL: singleURL }, ...listed.map(fieldsOf), ...numbered]
    .filter(({ title }) => title !== undefined)
    .map(({ title, actionURL }) => `  [ ${wordsOf(title)} ] ${wordsOf(actionURL)}`);
  return [`[action card ${wordsOf(fields["title"])}]`, withPictures(wordsOf(fields["text"]), fileOf), ...buttons].join(
    "\n",
  );
}

/** It shows a text that is written into it, and not variables. */
export function isLive(card: SimulatedCard): boolean {
  return card.templateId === publicTemplate || card.streamed > 0;
}

/** More is to come. */
export function isGrowing(card: SimulatedCard): boolean {
  return card.delivered && isLive(card) && card.finishedAt === undefined;
}

/** The text of a live card; the line breaks that cards have are line breaks here. */
export function liveText({ content, params }: SimulatedCard, fileOf: FileOf): string {
  const streamed = Object.values(content);
  const texts = streamed.length > 0 ? streamed : [params["msgContent"] ?? params["content"] ?? ""];
  return withPictures(texts.join("\n").replaceAll(/<br ?\/?>\n?/g, "\n"), fileOf);
}

/** The variables of a card, and its controls where they are known: they belong to the template. */
export function variablesText({ templateId, params }: SimulatedCard): string {
  const controls = templateId === DEMO_CARD.templateId ? Object.keys(DEMO_CARD.controls) : [];
  const lines = Object.entries(params).map(([name, value]) => `  ${name}: ${value}`);
  return [...lines, ...controls.map((actionId) => `  [ ${actionId} ] /press ${actionId}`)].join("\n");
}
