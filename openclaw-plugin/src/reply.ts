import { type FileContent, type Target, sendMessage } from "./bridge-client.ts";
import { type Bridge, BridgeRefusal } from "./bridge-http.ts";
import { FileRefusal, type FileToSend, fileContent } from "./files-out.ts";
import { ReplyStream, type StreamOutcome } from "./stream.ts";
import { contentOf, lines } from "./text.ts";

/** The part of OpenClaw's reply payload that is sent. */
export interface Payload {
  text?: string | undefined;
  mediaUrl?: string | undefined;
  mediaUrls?: string[] | undefined;
  isError?: boolean | undefined;
  attachments?: readonly { name?: unknown; url?: unknown; path?: unknown; mediaUrl?: unknown }[] | undefined;
}

export interface ReplyOptions {
  bridge: Bridge;
  target: Target & { inReplyTo: string };
  load: FileToSend["load"];
  /** The run that answers, as soon as it is known. */
  runId: () => string | undefined;
  /** Whether answers are shown while they grow. */
  isStreaming: () => boolean;
}

export interface Delivered {
  visibleReplySent: boolean;
  messageIds?: string[];
}

/**
 * What one turn answers: none, one or several texts and files, and what is to be seen of a text before it is finished. A text that
 * began as a stream ends as that stream and goes out in no other way.
 */
export class Reply {
  readonly #options: ReplyOptions;
  #stream: ReplyStream | undefined;
  /** Nothing grows any more until the model begins to say something new. */
  #isQuiet = false;
  #isEnded = false;
  #sent = 0;
  /** What the stream showed last. */
  #shown = "";

  constructor(options: ReplyOptions) {
    this.#options = options;
  }

  /** The text so far of what the model says just now. False as long as nobody can see it. */
  grow(partial: { text?: string | undefined }): boolean {
    if (this.#isEnded || this.#isQuiet) return false;
    if (!this.#stream && !this.#options.isStreaming()) return false;
    this.#stream ??= new ReplyStream(this.#options);
    // Read when it is sent: OpenClaw computes the text only then.
    return this.#stream.update(() => {
      this.#shown = partial.text ?? this.#shown;
      return this.#shown;
    });
  }

  /**
   * The model begins another message. What it said before, until it used a tool say, is not part of the answer: it stays to be seen until
   * the first word of the new one.
   */
  beginMessage(): void {
    this.#isQuiet = false;
  }

  /**
   * Sends one payload. Throws when the bridge refuses it, or does not take it for as long as patience lasts.
   * @param kind what OpenClaw calls it; the results of tools go beside the text that grows
   */
  async deliver(payload: Payload, kind: string): Promise<Delivered> {
    const { files, refused } = await this.#files(payload);
    const text = lines(payload.text?.trim() ?? "", ...refused);
    const messageIds: string[] = [];
    let caption = text;
    if (text !== "" && kind !== "tool" && this.#stream) {
      const id = await this.#finish(payload.isError ? lines(this.#shown, text) : text, payload);
      if (id !== undefined) {
        messageIds.push(id);
        caption = "";
      }
    }
    if (files.length === 0 && caption !== "") messageIds.push(await this.#send(contentOf(caption)));
    for (const file of files) {
      messageIds.push(await this.#sendFile(caption === "" ? file : { ...file, caption }));
      caption = "";
    }
    return messageIds.length > 0 ? { visibleReplySent: true, messageIds } : { visibleReplySent: false };
  }

  /** The turn is over: what grew and was never finished keeps what was shown of it. Never throws. */
  async end(outcome: StreamOutcome): Promise<void> {
    this.#isEnded = true;
    const stream = this.#stream;
    this.#stream = undefined;
    try {
      await stream?.finish("", outcome);
    } catch (error) {
      const { bridge, target } = this.#options;
      bridge.log.warn(`dingtalk: the end of the answer to ${target.inReplyTo} was not told: ${String(error)}`);
    }
  }

  async #finish(text: string, { isError }: Payload): Promise<string | undefined> {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#isQuiet = true;
    this.#shown = "";
    return await stream?.finish(text, isError ? "failed" : "done");
  }

  async #send(content: ReturnType<typeof contentOf> | FileContent): Promise<string> {
    const { bridge, target, runId } = this.#options;
    // The run's id and a count: OpenClaw may give several answers to one message, and each is a message of its own.
    const key = `${target.inReplyTo}/${runId() ?? "turn"}/${this.#sent}`;
    this.#sent += 1;
    return await sendMessage(bridge, { message: { ...target, content }, key });
  }

  /** The words of a file that the bridge refuses go out without it. */
  async #sendFile(file: FileContent): Promise<string> {
    try {
      return await this.#send(file);
    } catch (error) {
      if (!(error instanceof BridgeRefusal)) throw error;
      this.#options.bridge.log.warn(`dingtalk: a file was not sent: ${error.message}`);
      return await this.#send(contentOf(lines(file.caption ?? "", missingLine(file.fileName))));
    }
  }

  /** A file that cannot be sent takes nothing else with it: a line says so. */
  async #files(payload: Payload): Promise<{ files: FileContent[]; refused: string[] }> {
    const { bridge, load } = this.#options;
    const files: FileContent[] = [];
    const refused: string[] = [];
    for (const source of sourcesOf(payload)) {
      try {
        files.push(await fileContent(bridge, { source, load, name: nameOf(payload, source) }));
      } catch (error) {
        if (!(error instanceof FileRefusal)) throw error;
        bridge.log.warn(`dingtalk: ${error.message}`);
        refused.push(missingLine(error.fileName));
      }
    }
    return { files, refused };
  }
}

const missingLine = (fileName: string | undefined): string =>
  fileName === undefined ? "[file, cannot be sent]" : `[file: ${fileName}, cannot be sent]`;

function sourcesOf({ mediaUrl, mediaUrls }: Pick<Payload, "mediaUrl" | "mediaUrls">): string[] {
  const all = mediaUrls?.length ? mediaUrls : [mediaUrl ?? ""];
  return [...new Set(all.filter((source) => source !== ""))];
}

/** OpenClaw copies a local file before it is sent, under a name of its own, and keeps the first name here. */
function nameOf({ attachments }: Payload, source: string): string | undefined {
  const attachment = attachments?.find(({ url, path, mediaUrl }) => [url, path, mediaUrl].includes(source));
  return typeof attachment?.name === "string" && attachment.name !== "" ? attachment.name : undefined;
}
