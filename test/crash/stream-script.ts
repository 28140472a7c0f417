import { type Random, between, oneOf } from "./random.ts";

/** Every block of a streamed text begins with one, in brackets of its own: what is said in other ways is not mistaken for it. */
const MARK = /⟪([^/⟫]+)\/(\d+)⟫/g;

const mark = (key: string, n: number): string => `⟪${key}/${n}⟫`;

/** The stream that a piece of text is of, and which of its blocks are in it. */
export function streamMarksIn(text: string): { key: string; blocks: number[] } | undefined {
  const all = [...text.matchAll(MARK)];
  const key = all[0]?.[1];
  return key === undefined ? undefined : { key, blocks: all.map(([, , n]) => Number(n)) };
}

export type Ending =
  /** Its gateway says no more, and never ends it. */
  | "never"
  | "done"
  | "failed"
  | "aborted"
  /** The last text is another one than what was shown while it grew. */
  | "revised"
  /** Ended without a text: what was shown stands. */
  | "empty"
  | "emptyFailed"
  /** Ended long after it was left. */
  | "late";

/** What the gateway does with one stream. */
export interface StreamPlan {
  key: string;
  /** Number of the conversation; every second one is a group. */
  lane: number;
  text: string;
  /** Lengths of what is known at each update. */
  lengths: number[];
  everyMs: number;
  ending: Ending;
  format: "auto" | "markdown" | "text";
}

const SENTENCES = [
  "今天的安排已经整理好了。",
  "请先看**第一点**,",
  "再看 `a_b` 的说明。",
  "数字是 3.14 与 42%。",
  "OK, see below. ",
];
const SHORT = { from: 1, to: 12 } as const;
const LONG = { from: 45, to: 110 } as const;
const LONG_SHARE = 0.15;

const ENDINGS: readonly [Ending, ...Ending[]] = [
  ...(Array.from({ length: 11 }, () => "done") as ["done", ...Ending[]]),
  "never",
  "never",
  "never",
  "failed",
  "aborted",
  "revised",
  "empty",
  "emptyFailed",
  "late",
];

/** `everyMs` from 15 to 150, so that a stream lives from some milliseconds to some seconds. */
export function planOf(random: Random, key: string, conversations: number): StreamPlan {
  const size = random() < LONG_SHARE ? LONG : SHORT;
  const text = streamText(random, key, between(random, size.from, size.to));
  const format = random() < 0.1 ? oneOf<StreamPlan["format"]>(random, ["markdown", "text"]) : "auto";
  return {
    key,
    lane: between(random, 0, conversations - 1),
    text,
    lengths: lengthsOf(random, text),
    everyMs: between(random, 15, 150),
    ending: oneOf(random, ENDINGS),
    format,
  };
}

/** Markdown in blocks. A long one has no blocks that are repeated or opened anew where it is cut. */
export function streamText(random: Random, key: string, blocks: number): string {
  const kinds: readonly [string, ...string[]] =
    blocks > SHORT.to
      ? ["paragraph", "paragraph", "list"]
      : ["paragraph", "paragraph", "list", "table", "fence", "heading"];
  return Array.from({ length: blocks }, (_, n) => block(random, oneOf(random, kinds), mark(key, n))).join("\n\n");
}

function block(random: Random, kind: string, mark: string): string {
  const say = (): string => oneOf(random, ["", "\n"]) + oneOf(random, SENTENCES as [string, ...string[]]);
  const words = Array.from({ length: between(random, 1, 8) }, say).join("");
  switch (kind) {
    case "list":
      return `- ${mark} ${words.replaceAll("\n", "")}`;
    case "heading":
      return `## ${mark} 小标题`;
    case "table":
      return `${mark}\n\n| 项 | 值 |\n| --- | --- |\n| 甲 | 1 |\n| 乙 | 2 |`;
    case "fence":
      return `${mark}\n\n\`\`\`js\nconst a = "b";\n\`\`\``;
    default:
      return `${mark} ${words}`;
  }
}

/** Growing to the whole text, by pieces of any size; never inside a mark, and the first behind one. */
function lengthsOf(random: Random, text: string): number[] {
  const lengths: number[] = [];
  const step = Math.max(8, text.length / between(random, 5, 60));
  const first = text.indexOf("⟫") + 1;
  for (let at = 0; at < text.length;) {
    at = Math.min(text.length, Math.max(first, at + Math.ceil(random() * 2 * step)));
    const begun = text.lastIndexOf("⟪", at - 1);
    if (begun >= 0 && !text.slice(begun, at).includes("⟫")) at = text.indexOf("⟫", at) + 1;
    lengths.push(at);
  }
  return lengths;
}

/** The last text of a stream that ends with another one than it grew to. */
export const revised = ({ key, text }: { key: string; text: string }): string => `${mark(key, 999)} 更正:\n\n${text}`;
