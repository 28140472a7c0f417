import { Ids } from "./dingtalk-ids.ts";
import type { DingtalkSimulator } from "./dingtalk-simulator.ts";
import type { PushHandle, SaidMessage } from "./dingtalk-types.ts";
import type { RobotMessage } from "./terminal-chat.ts";
import type { PersonFile } from "./terminal-files.ts";

const FIRST_USER = "staff001";

/** The person at the terminal: who they are, in which chat, and what they do there. */
export class Person {
  readonly #dingtalk: DingtalkSimulator;
  readonly #appKey: string;
  readonly #titles = new Map<string, string>();
  /** What was said or pressed. */
  said = 0;
  #staffId = FIRST_USER;
  #group: string | undefined;

  constructor(dingtalk: DingtalkSimulator, appKey: string) {
    this.#dingtalk = dingtalk;
    this.#appKey = appKey;
  }

  become(staffId: string): void {
    this.#staffId = staffId;
  }

  /** Into the group of that title, which is made where there is none; undefined: to the robot alone. */
  enter(group: string | undefined): void {
    this.#group = group;
    if (group !== undefined) this.#titles.set(Ids.conversation(group), group);
  }

  get conversationId(): string {
    return this.#group === undefined ? Ids.conversation(this.#appKey, this.#staffId) : Ids.conversation(this.#group);
  }

  /** How the person is called, and where they are. */
  get whereabouts(): string {
    return this.#group === undefined
      ? `you are ${this.#staffId}, alone with the robot`
      : `you are ${this.#staffId}, in the group ${this.#group}`;
  }

  /** What tells a chat from the person's direct one: the group's title, or that it is somebody else's. */
  labelOf(conversationId: string): string {
    const title = this.#titles.get(conversationId);
    if (title !== undefined) return title;
    return conversationId === Ids.conversation(this.#appKey, this.#staffId) ? "" : "another chat";
  }

  say(text: string): Promise<PushHandle> {
    return this.#say({ text });
  }

  /** One sentence in a group; the person stays where they are. */
  sayIn(group: string, text: string): Promise<PushHandle> {
    this.#titles.set(Ids.conversation(group), group);
    this.said += 1;
    return this.#dingtalk.say({ text, from: this.#staffId, group });
  }

  /** One file, or pictures, before them a text. Rejects where DingTalk delivers no such message. */
  async sendFiles(files: readonly PersonFile[], text?: string): Promise<PushHandle> {
    const [first] = files;
    if (this.#group !== undefined && first?.kind !== "picture") {
      throw new Error("in groups DingTalk delivers only text and pictures; /direct leaves the group");
    }
    const codes = files.map((file) => this.#dingtalk.media.offer({ data: file.data, fileName: file.fileName }));
    const pictures = codes.map(({ downloadCode }) => ({ downloadCode, pictureDownloadCode: downloadCode }));
    const [picture] = pictures;
    if (!first || !picture) throw new Error("no files");
    const { downloadCode } = picture;
    if (files.length > 1 || text !== undefined) {
      const words = text === undefined ? [] : [{ text }];
      const richText = [...words, ...pictures.map((one) => ({ type: "picture", ...one }))];
      return this.#say({ msgtype: "richText", content: { richText } });
    }
    switch (first.kind) {
      case "picture":
        return this.#say({ msgtype: "picture", content: picture });
      case "audio":
        return this.#say({ msgtype: "audio", content: { downloadCode } });
      case "video":
        return this.#say({ msgtype: "video", content: { downloadCode, videoType: "mp4" } });
      case "file":
        return this.#say({ msgtype: "file", content: { downloadCode, fileName: first.fileName } });
    }
  }

  /** Answers one of the robot's messages; DingTalk sends as much of it as dingtalk-protocol.md §2.8 says. */
  quote(answered: RobotMessage, text: string): Promise<PushHandle> {
    const { key, repliedMsg } = quoted(answered);
    return this.#say({
      content: { content: text, isReplyMsg: true, repliedMsg },
      payload: { originalMsgId: repliedMsg.msgId, ...(key !== undefined && { originalProcessQueryKey: key }) },
    });
  }

  press(outTrackId: string, actionId: string): Promise<PushHandle> {
    this.said += 1;
    return this.#dingtalk.press({ outTrackId, actionId, from: this.#staffId });
  }

  #say(message: SaidMessage): Promise<PushHandle> {
    this.said += 1;
    return this.#dingtalk.say({
      ...message,
      from: this.#staffId,
      ...(this.#group !== undefined && { group: this.#group }),
    });
  }
}

const KINDS: Readonly<Record<string, string>> = {
  sampleImageMsg: "picture",
  sampleFile: "file",
  sampleAudio: "audio",
  sampleVideo: "video",
};

function quoted(answered: RobotMessage) {
  const { seq } = "card" in answered ? answered.card : answered.message;
  const msgId = `msgsandbox${seq}==`;
  if ("card" in answered) {
    const { carrierId: key, createdAt } = answered.card;
    return { key, repliedMsg: { msgId, msgType: "interactiveCard", createdAt } };
  }
  const { msgKey = "", text, processQueryKey: key, at: createdAt } = answered.message;
  const msgType = KINDS[msgKey] ?? "text";
  return { key, repliedMsg: { msgId, msgType, createdAt, content: msgType === "text" ? { text } : {} } };
}
