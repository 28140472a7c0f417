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
  /** Who is to be @-ed as long as the answer is for him alone: a staffId. */
  mention?: string | undefined;
}

export interface Delivered {
  visibleReplySent: boolean;
  messageIds?: string[];
}

/** What is shown while tools run and nothing has been said yet. The bridge makes a card of a text only. */
const NOTHING_YET = "…";
/** Most tools are quicker, and a card costs calls of the month's quota. */
const TOOL_PATIENCE_MS = 3_000;
const FAILED = "⚠️ Something went wrong while I was working on this. Please try again.";

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
  /** What the model has said so far. Read when it is needed: OpenClaw computes the text only then. */
  #partial: { text?: string | undefined } = {};
  #shown = "";
  /** What is being done, below the text. */
  #status = "";
  #patience: NodeJS.Timeout | undefined;
  #isShared = false;
  #hasAnswered = false;

  constructor(options: ReplyOptions) {
    this.#options = options;
  }

  get to(): string {
    return this.#options.target.to;
  }

  get inReplyTo(): string {
    return this.#options.target.inReplyTo;
  }

  /** The answer is for somebody else as well. */
  share(): void {
    this.#isShared = true;
  }

  /** Whether this is what grows just now. */
  shows(text: string): boolean {
    return this.#stream !== undefined && this.#text().trim() === text.trim();
  }

  /** The text so far of what the model says just now. False as long as nobody can see it. */
  grow(partial: { text?: string | undefined }): boolean {
    if (this.#isEnded || this.#isQuiet) return false;
    if (!this.#stream && !this.#options.isStreaming()) return false;
    this.#status = "";
    this.#partial = partial;
    return this.#show(() => this.#text());
  }

  /** A tool runs; `line` says what it does. False as long as nobody can see it. */
  progress(line: string): boolean {
    if (this.#isEnded || !this.#options.isStreaming()) return false;
    this.#status = line;
    const read = (): string => this.#text() || NOTHING_YET;
    if (this.#stream) return this.#show(read);
    // In a group an agent may well say nothing in the end, and a card that was shown cannot be taken back.
    if (!this.to.startsWith("user:")) return false;
    this.#patience ??= setTimeout(() => {
      if (!this.#isEnded && !this.#hasAnswered && this.#status !== "") this.#show(read);
    }, TOOL_PATIENCE_MS);
    return false;
  }

  #text(): string {
    this.#shown = this.#partial.text ?? this.#shown;
    return this.#shown;
  }

  #show(read: () => string): boolean {
    this.#stream ??= new ReplyStream(this.#options);
    return this.#stream.update(read, this.#status);
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
    const id = kind === "tool" ? undefined : await this.finish(text, payload.isError === true);
    if (id !== undefined) {
      messageIds.push(id);
      caption = "";
    }
    if (files.length === 0 && caption !== "") messageIds.push(await this.#send(contentOf(caption)));
    for (const file of files) {
      messageIds.push(await this.#sendFile(caption === "" ? file : { ...file, caption }));
      caption = "";
    }
    return messageIds.length > 0 ? { visibleReplySent: true, messageIds } : { visibleReplySent: false };
  }

  /**
   * Ends what grows with this text and returns the id of what carries it. Undefined when nothing grows: the text has to go as a message.
   * Throws as `deliver` does.
   */
  async finish(text: string, isError = false): Promise<string | undefined> {
    const stream = this.#stream;
    if (text === "" || !stream) return undefined;
    const said = isError ? this.#text().trimEnd() : "";
    const whole = said === "" ? text : `${said}\n\n${text}`;
    this.#stream = undefined;
    this.#isQuiet = true;
    this.#partial = {};
    this.#shown = "";
    this.#hasAnswered = true;
    return await stream.finish(whole, isError ? "failed" : "done", this.mentions);
  }

  /** Of one more message of this answer: the run's id and a count, because OpenClaw may give several answers to one message. */
  nextKey(): string {
    const { target, runId } = this.#options;
    const key = `${target.inReplyTo}/${runId() ?? "turn"}/${this.#sent}`;
    this.#sent += 1;
    this.#hasAnswered = true;
    return key;
  }

  /** Who is @-ed by this answer: its asker where that is set, and nobody when it answers several. */
  get mentions(): { mentions?: { userIds: string[] } } {
    const { mention } = this.#options;
    return mention === undefined || this.#isShared ? {} : { mentions: { userIds: [mention] } };
  }

  /** The turn is over: what grew and was never finished keeps what was shown of it. Never throws. */
  async end(outcome: StreamOutcome): Promise<void> {
    this.#isEnded = true;
    clearTimeout(this.#patience);
    const stream = this.#stream;
    this.#stream = undefined;
    try {
      await stream?.finish("", outcome);
    } catch (error) {
      const { bridge, target } = this.#options;
      bridge.log.warn(`dingtalk: the end of the answer to ${target.inReplyTo} was not told: ${String(error)}`);
    }
  }

  /** The turn broke, and nobody said so. Never throws. */
  async apologise(): Promise<void> {
    if (this.#hasAnswered) return;
    try {
      await this.deliver({ text: FAILED, isError: true }, "final");
    } catch (error) {
      const { bridge, target } = this.#options;
      bridge.log.warn(`dingtalk: the sender of ${target.inReplyTo} was not told that it failed: ${String(error)}`);
    }
  }

  async #send(content: ReturnType<typeof contentOf> | FileContent): Promise<string> {
    const { bridge, target } = this.#options;
    return await sendMessage(bridge, { message: { ...target, content, ...this.mentions }, key: this.nextKey() });
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
