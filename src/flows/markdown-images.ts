import type { ErrorCode } from "../domain/errors.ts";
import { type MarkdownImage, imagesIn, replaceImages } from "../domain/markdown-images.ts";
import type { Failure } from "../dingtalk/answers.ts";
import type { Logger } from "../ops/logger.ts";
import type { MediaContext, MediaSender, Prepared } from "./media-sender.ts";

/** Pictures of one message that are uploaded; the others become links. */
export const MOST_IMAGES = 10;
/** What the Open API takes as `msgParam` (dingtalk-protocol.md §3.5): addresses may be longer than those they replace. */
const LARGEST_JSON = 15_000;
/** Pictures that are remembered as not to be had, so that the next attempt of their message does not wait for them again. */
const REMEMBERED = 1_000;

/** For these the text waits too: it could not be sent now either, or the pictures can be in a moment. */
const WAITED_FOR: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["pacing", "dingtalk_throttled", "interrupted"]);

/** Makes the pictures of a Markdown text visible: uploaded, and named by DingTalk's id in place of their address. */
export class MarkdownImages {
  readonly #media: Pick<MediaSender, "picture">;
  readonly #logger: Logger;
  /** By entry and address. */
  readonly #failed = new Set<string>();

  constructor(options: { media: Pick<MediaSender, "picture">; logger: Logger }) {
    this.#media = options.media;
    this.#logger = options.logger;
  }

  /** `before`: how many pictures the parts before this one have. */
  async prepare<C extends { title: string; text: string }>(
    content: C,
    before: number,
    context: MediaContext,
  ): Promise<Prepared<C>> {
    const images = imagesIn(content.text);
    const wanted = images.slice(0, Math.max(0, MOST_IMAGES - before));
    const addresses = [...new Set(wanted.map(({ url }) => url))];
    const found = await Promise.all(addresses.map((url) => this.#picture(url, context)));
    const waits = found.find((one) => one !== undefined && typeof one !== "string");
    if (typeof waits === "object") return waits;
    const ids = new Map(addresses.map((url, index) => [url, found[index]]));
    const idOf = (image: MarkdownImage): string | undefined => {
      const id = wanted.includes(image) ? ids.get(image.url) : undefined;
      return typeof id === "string" ? id : undefined;
    };
    const shown = { ...content, text: replaceImages(content.text, images, idOf) };
    const linked = { ...content, text: replaceImages(content.text, images, () => undefined) };
    const text = [shown, linked].find(fits) ?? content;
    return { kind: "ready", content: text, mediaIds: [] };
  }

  /** DingTalk's id; undefined when there will be none; a failure that the whole text waits for. */
  async #picture(url: string, context: MediaContext): Promise<string | Failure | undefined> {
    const key = `${context.seq}\n${url}`;
    if (this.#failed.has(key)) return undefined;
    const step = await this.#media.picture({ url }, context);
    if (step.kind === "done") return step.value;
    if (WAITED_FOR.has(step.code) && context.sender.gates.upload.shutSince === undefined) return step;
    if (this.#failed.size >= REMEMBERED) this.#failed.clear();
    this.#failed.add(key);
    const { code, detail } = step;
    this.#logger.warn({ account: context.account, code, detail }, "a picture in a text becomes a link");
    return undefined;
  }
}

function fits({ title, text }: { title: string; text: string }): boolean {
  return Buffer.byteLength(JSON.stringify({ title, text })) <= LARGEST_JSON;
}
