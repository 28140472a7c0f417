import type { MediaPart, MessagePart } from "../domain/envelope.ts";
import { compact } from "./json.ts";

/** A part that has a file at DingTalk. The download code stays inside the bridge: it is bound to the robot. */
export interface MediaReference {
  /** Where the part is in the envelope's `message`: `["parts", 0]`, `["quote", "parts", 1]`, … */
  path: readonly (string | number)[];
  type: MediaPart["type"];
  /** Temporary, exchanged for a URL (dingtalk-protocol.md §3.9). */
  downloadCode: string;
  fileName?: string;
  durationMs?: number;
}

/** A mention of somebody else that is an element of its own in a rich text. */
export interface InlineMention {
  id: string | undefined;
  name: string | undefined;
}

interface FileFields {
  downloadCode: string | undefined;
  recognition: string | undefined;
  fileName: string | undefined;
  durationMs: number | undefined;
}

/** Words collected piece by piece: asking a growing string for its end would copy it every time. */
class Words {
  readonly #pieces: string[] = [];
  #last = "";

  /** `newLine`: begins a line, unless a line has just begun. */
  add(words: string, newLine: boolean): void {
    if (words === "") return;
    if (newLine && this.#last !== "" && !this.#last.endsWith("\n") && !words.startsWith("\n")) this.#pieces.push("\n");
    this.#pieces.push(words);
    this.#last = words;
  }

  toString(): string {
    return this.#pieces.join("");
  }
}

interface FileItem {
  file: MediaPart;
  downloadCode?: string;
}

/**
 * A message while it is being read. `parts` keep everything as it came; `text` is the reading text, which leaves out
 * the robot's own mention and takes in what was said in voice messages.
 */
export class Draft {
  readonly mentions: InlineMention[] = [];
  readonly #ownId: string | undefined;
  readonly #items: (Words | FileItem)[] = [];
  readonly #reading = new Words();
  #newLine = false;
  #writes = 0;
  #ownMention = false;

  /** `ownId`: the robot's own encrypted id, so that its mention can be told from others. */
  constructor(ownId?: string) {
    this.#ownId = ownId;
  }

  /** How often something was written: tells whether a reader found anything. */
  get writes(): number {
    return this.#writes;
  }

  /** The robot's own mention was an element of its own, so none is left in the words. */
  get ownMention(): boolean {
    return this.#ownMention;
  }

  get text(): string {
    return this.#reading.toString().trim();
  }

  get parts(): MessagePart[] {
    return this.#items.map((item) => (item instanceof Words ? { type: "text", text: item.toString() } : item.file));
  }

  /** `path` leads to the list that the parts will be in. */
  references(path: readonly (string | number)[]): MediaReference[] {
    return this.#items.flatMap((item, index) => {
      if (item instanceof Words || item.downloadCode === undefined) return [];
      const { type, fileName, durationMs } = item.file;
      return [compact({ path: [...path, index], type, downloadCode: item.downloadCode, fileName, durationMs })];
    });
  }

  /** Words that go on where the last ones ended. */
  say(words: string): void {
    this.#write(words, words);
  }

  /** What is said next begins a line. */
  break(): void {
    this.#newLine = true;
  }

  /** Words on a line of their own. */
  line(words: string): void {
    this.break();
    this.say(words);
    this.break();
  }

  /** A mention, `words` with its @. The robot's own is no word of the message. */
  mention(words: string, id: string | undefined): void {
    const own = id !== undefined && id === this.#ownId;
    if (own) this.#ownMention = true;
    else this.mentions.push({ id, name: words.length > 1 ? words.slice(1) : undefined });
    this.#write(words, own ? "" : words);
  }

  /** A file, not fetched yet. */
  file(type: MediaPart["type"], { downloadCode, ...shown }: FileFields): void {
    this.#writes += 1;
    const detail =
      downloadCode === undefined ? "DingTalk sent no download code" : "the bridge has not fetched this file";
    const file: MediaPart = compact({ type, ...shown, error: { code: "media_not_fetched", detail } });
    this.#items.push(compact({ file, downloadCode }));
    this.break();
    if (shown.recognition !== undefined) this.#read(shown.recognition);
    this.break();
  }

  /** Takes in the files of another draft, whose words this one has already said. */
  adoptFiles(other: Draft): void {
    for (const item of other.#items) if (!(item instanceof Words)) this.#items.push(item);
  }

  #write(words: string, reading: string): void {
    this.#writes += 1;
    const last = this.#items.at(-1);
    if (last instanceof Words) last.add(words, this.#newLine);
    else {
      const begun = new Words();
      begun.add(words, false);
      this.#items.push(begun);
    }
    this.#read(reading);
  }

  #read(words: string): void {
    this.#reading.add(words, this.#newLine);
    if (words !== "") this.#newLine = false;
  }
}
