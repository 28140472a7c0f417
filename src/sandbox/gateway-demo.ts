import type { CardActionEnvelope, Envelope, MessageEnvelope } from "../domain/envelope.ts";
import { sampleFile } from "./dingtalk-media-samples.ts";
import type { BridgeAnswer, BridgeCalls } from "./gateway-calls.ts";
import { answerFiles, hasFiles, quoteLine } from "./gateway-demo-files.ts";
import {
  askedFor,
  BUTTONS,
  DEMO_CARD,
  type Feature,
  growingText,
  type Language,
  RECALLED,
  STOPPED,
  THOUGHT,
} from "./gateway-demo-words.ts";
import { laneOf, messageOf } from "./gateway-replies.ts";
import { sendStream } from "./gateway-streams.ts";

type Answer = Promise<BridgeAnswer | undefined>;

const GROWS_MS = 4_000;
const RECALLED_AFTER_MS = 2_000;
/** Longer than the bridge waits before it shows the reaction. */
const THINKS_MS = 6_000;
const STOP_WORDS = new Set(["/stop", "停止"]);

/** Answers that show, one by one, what a gateway can do. Anything else comes back as it was said. */
export class Demo {
  readonly #calls: BridgeCalls;
  /** Replies that grow or will, by conversation. */
  readonly #growing = new Map<string, Set<AbortController>>();
  /** Cards of this demo, by outTrackId, with the language they are in. */
  readonly #cards = new Map<string, Language>();

  constructor(calls: BridgeCalls) {
    this.#calls = calls;
  }

  /** What is to be done about an envelope; undefined: nothing. A stop takes effect at once. */
  scriptOf(envelope: Envelope): (() => Answer) | undefined {
    if (envelope.type === "card.action") return this.#pressed(envelope);
    if (envelope.type !== "message") return undefined;
    const { message } = envelope;
    if (hasFiles(message)) return () => answerFiles(this.#calls, envelope);
    if (STOP_WORDS.has(message.text)) {
      const isStopped = this.#stop(envelope);
      return isStopped ? () => this.#say(envelope, STOPPED.zh) : () => this.#say(envelope, echoOf(envelope));
    }
    const asked = askedFor(message.text);
    if (!asked) return () => this.#say(envelope, echoOf(envelope));
    if (asked.feature === "stream") return this.#grow(envelope, asked.language);
    return () => this.#show(envelope, asked.feature, asked.language);
  }

  #show(envelope: MessageEnvelope, feature: Feature, language: Language): Answer {
    switch (feature) {
      case "buttons":
        return this.#buttons(envelope, language);
      case "card":
        return this.#card(envelope, language);
      case "recall":
        return this.#recall(envelope, language);
      case "think":
        return this.#think(envelope, language);
      case "stream":
        throw new Error("a stream has a script of its own");
    }
  }

  #say(envelope: Envelope, text: string, n = 1): Answer {
    return this.#calls.insist(messageOf(envelope, { type: "text", text }, n));
  }

  /** Resolves when the message has been sent, or cannot be for now. */
  #send(envelope: Envelope, content: object): Answer {
    const call = messageOf(envelope, content);
    return this.#calls.insist({ ...call, headers: { ...call.headers, prefer: "wait=20" }, timeoutMs: 30_000 });
  }

  #grow(envelope: MessageEnvelope, language: Language): () => Answer {
    const lane = laneOf(envelope);
    const controller = new AbortController();
    const growing = this.#growing.get(lane) ?? new Set();
    this.#growing.set(lane, growing.add(controller));
    return async () => {
      const deltas = growingText(language);
      try {
        const { signal } = controller;
        return await sendStream(this.#calls, { envelope, deltas, deltaMs: GROWS_MS / deltas.length, signal });
      } finally {
        growing.delete(controller);
        if (growing.size === 0) this.#growing.delete(lane);
      }
    };
  }

  #stop(envelope: Envelope): boolean {
    const growing = this.#growing.get(laneOf(envelope));
    for (const controller of growing ?? []) controller.abort();
    return growing !== undefined;
  }

  #buttons(envelope: MessageEnvelope, language: Language): Answer {
    const { title, text, site, home } = BUTTONS[language];
    const buttons = [
      { title: site, url: "https://open.dingtalk.com" },
      { title: home, url: "https://www.dingtalk.com" },
    ];
    return this.#calls.insist(messageOf(envelope, { type: "actionCard", title, text, buttons }));
  }

  async #card(envelope: MessageEnvelope, language: Language): Answer {
    const { templateId, params, summary } = DEMO_CARD;
    const content = { type: "card", templateId, params: params[language], summary: summary[language] };
    const answer = await this.#send(envelope, content);
    const outTrackId = answer?.body["outTrackId"];
    if (typeof outTrackId === "string") this.#cards.set(outTrackId, language);
    return answer;
  }

  #pressed(envelope: CardActionEnvelope): (() => Answer) | undefined {
    const { outTrackId, actionId, user } = envelope.action;
    if (actionId === "stop" && this.#stop(envelope)) return undefined;
    return async () => {
      const language = this.#cards.get(outTrackId);
      const controls: Record<string, Record<Language, string>> = DEMO_CARD.controls;
      const status = language && controls[actionId]?.[language];
      if (status !== undefined) {
        await this.#calls.insist(messageOf(envelope, { type: "card", outTrackId, params: { status } }));
      }
      return this.#say(envelope, `收到:${user} 按下 ${actionId}`, 2);
    };
  }

  /** A picture, because what goes by the conversation's webhook cannot be taken back. */
  async #recall(envelope: MessageEnvelope, language: Language): Answer {
    const { account } = envelope;
    const form = (): FormData => {
      const data = new FormData();
      data.append("file", new Blob([new Uint8Array(sampleFile("picture"))]), "recall.png");
      return data;
    };
    const upload = await this.#calls.insist({ account, method: "POST", path: "/v1/media", form });
    if (!upload?.ok) return upload;
    const sent = await this.#send(envelope, { type: "image", media: { id: upload.body["id"] } });
    if (sent?.body["status"] !== "delivered") return sent;
    await this.#calls.pause(RECALLED_AFTER_MS);
    const path = `/v1/messages/${String(sent.body["id"])}`;
    const taken = await this.#calls.insist({ account, method: "DELETE", path });
    if (!taken) return undefined;
    return this.#say(envelope, taken.ok ? RECALLED[language] : String(taken.body["detail"]), 2);
  }

  async #think(envelope: MessageEnvelope, language: Language): Answer {
    const { account, id: inReplyTo } = envelope;
    const activity = (state: "working" | "idle"): Answer =>
      this.#calls.insist({ account, method: "PUT", path: "/v1/activity", json: { inReplyTo, state } });
    await activity("working");
    await this.#calls.pause(THINKS_MS);
    await activity("idle");
    return this.#say(envelope, THOUGHT[language]);
  }
}

function echoOf({ message: { text, quote } }: MessageEnvelope): string {
  const quoted = quote && quoteLine(quote);
  return quoted === undefined ? `收到:${text}` : `收到:${text}\n(回复「${quoted}」)`;
}
