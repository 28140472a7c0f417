import { dayName } from "../domain/day.ts";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { type Language, NOTICES, type NoticeKind, aboutFile } from "../domain/notices.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import { type Conversation, type Entry, type QueueStore, isControlLane, splitLane } from "../queue/store.ts";
import { cleanFileName } from "./media-name.ts";
import type { Messages } from "./messages.ts";
import {
  type MediaContent,
  type Mentions,
  type MessageContent,
  type OutboundContent,
  type StoredMessage,
  isMediaContent,
} from "./outbound-content.ts";

export interface NoticesOptions {
  store: QueueStore;
  messages: Pick<Messages, "accept">;
  language: Language;
  /** Which kinds are said. */
  enabled: Record<NoticeKind, boolean>;
  /** A message has to have waited so long before anything is said about it. Milliseconds. */
  awayAfterMs: number;
  /** The gateway does not answer. */
  gatewayAway: () => boolean;
  /** The gateway has the lane's first message, queued behind other work. */
  isHeld: (lane: string) => boolean;
  /** A message more can be afforded this month. */
  affordable: (account: string) => boolean;
  clock: Clock;
  logger: Logger;
}

/** Codes after which a further message to the same conversation could not arrive either, or would only add to the harm. */
const SILENT_AFTER: ReadonlySet<string> = new Set([
  "no_route",
  "recipient_unknown",
  "quota_exhausted",
  "account_unknown",
  "too_old",
]);
/** The same for a file: a text can take a road that a file cannot, by webhook. */
const SILENT_AFTER_FILE: ReadonlySet<string> = new Set(["recipient_unknown", "account_unknown", "too_old"]);
const KEY = "notice:";
const LOOK_MS = 5_000;
/** Lanes looked at each time; the next ones the next time. */
const AT_ONCE = 500;
/** Told conversations remembered, so that the store is not asked again and again during one incident. */
const REMEMBERED = 20_000;

/** Says the bridge's own few lines: once per conversation and incident, durable, in the conversation's order. */
export class Notices implements Service {
  readonly name = "notices";
  readonly #options: NoticesOptions;
  readonly #said = new Set<string>();
  readonly #pending = new Set<Promise<void>>();
  /** Lanes that were told to wait, with the name of that incident. It ends when nothing of the lane waits any more. */
  readonly #busy = new Map<string, string>();
  /** The name of the outage: what waited longest when it was noticed, so that it is the same after a restart. */
  #outage: string | undefined;
  /** Monotonic time since when the gateway answers. */
  #answersSince: number | undefined;
  #seen = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    const every = Math.min(LOOK_MS, this.#options.awayAfterMs);
    this.#timer ??= setInterval(() => this.#look(), every);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await Promise.all(this.#pending);
  }

  health(): Health {
    return { status: "ok" };
  }

  /** A message came without its text: the month's quota is used up. Once a day. */
  overQuota(conversation: Conversation): void {
    this.#say("quotaUsedUp", conversation, dayName(this.#options.clock.now()));
  }

  /** A person wrote more today than `limits.perPersonPerDay`. Once a day and person. */
  personLimit(conversation: Conversation, sender: string): void {
    this.#say("personLimit", conversation, `${dayName(this.#options.clock.now())}:${sender}`);
  }

  /** A reply became a dead letter. */
  givenUp(entry: Entry, code: string): void {
    if (this.#isFileRefused(entry)) return this.#fileRefused(entry, code);
    const { inReplyTo } = entry.body as StoredMessage;
    if (inReplyTo === undefined || SILENT_AFTER.has(code) || entry.key.startsWith(`${entry.account}\n${KEY}`)) return;
    const conversation = this.#conversationOf(entry.lane);
    if (conversation) this.#say("givenUp", conversation, entry.id);
  }

  #isFileRefused(entry: Entry): boolean {
    const first = this.#options.store.parts(entry.seq)[0];
    return first !== undefined && !first.receipt && isMediaContent(first.body as OutboundContent);
  }

  /** What stands behind the file is said all the same; where nothing does, that there was a file. */
  #fileRefused(entry: Entry, code: string): void {
    if (SILENT_AFTER_FILE.has(code)) return;
    const { to, mentions } = entry.body as StoredMessage;
    const { account, id } = entry;
    const [file, ...rest] = this.#options.store.parts(entry.seq);
    const said = { account, to, incident: id };
    if (rest.length === 0 && file) {
      if (code === "no_route" && !this.#hasWebhook(entry.lane)) return;
      return this.#send("fileRefused", { ...said, name: this.#nameOf(file.body as MediaContent) });
    }
    const left = rest.filter(({ receipt }) => !receipt).map(({ body }) => body as OutboundContent);
    const text = left.map((part) => (part.type === "markdown" ? part.text : "")).join("\n\n");
    if (text === "") return;
    const caption = { content: { type: "markdown" as const, text }, ...(mentions && { mentions }) };
    this.#accept("fileRefused", { ...said, ...caption });
  }

  /** The name that people would know the file by; of an address only its last step, which holds no secret. */
  #nameOf({ type, media, fileName }: MediaContent): string {
    const name = "id" in media ? this.#options.store.media.find(media.id)?.fileName : lastStep(media.url);
    return cleanFileName(fileName ?? name ?? "") || type;
  }

  #hasWebhook(lane: string): boolean {
    const { webhook } = this.#conversationOf(lane) ?? {};
    return webhook !== undefined && webhook.expiresAt > this.#options.clock.now();
  }

  #look(): void {
    const { store, clock, awayAfterMs, logger } = this.#options;
    try {
      const isAway = this.#isAway();
      for (const lane of this.#busy.keys()) if (!store.head("inbox", lane)) this.#busy.delete(lane);
      const before = clock.now() - awayAfterMs;
      const waiting = store.waitingSince("inbox", { before, after: this.#seen, limit: AT_ONCE });
      this.#seen = waiting.length < AT_ONCE ? 0 : (waiting.at(-1)?.seq ?? 0);
      for (const entry of waiting) if (!isControlLane(entry.lane)) this.#tellWaiting(entry, isAway);
    } catch (thrown) {
      logger.warn({ err: coerceError(thrown) }, "nobody could be told that the assistant is away");
    }
  }

  /** An outage is over when the gateway has answered for as long as a message has to wait for the notice. */
  #isAway(): boolean {
    const { gatewayAway, clock, awayAfterMs, store } = this.#options;
    const now = clock.monotonic();
    if (!gatewayAway()) {
      this.#answersSince ??= now;
      if (now - this.#answersSince >= awayAfterMs) this.#outage = undefined;
      return false;
    }
    this.#answersSince = undefined;
    const [oldest] =
      this.#outage === undefined ? store.waitingSince("inbox", { before: Infinity, after: 0, limit: 1 }) : [];
    this.#outage ??= oldest?.id;
    return true;
  }

  #tellWaiting(entry: Entry, isAway: boolean): void {
    const { lane } = entry;
    if (!isAway && !this.#options.isHeld(lane)) return;
    const conversation = this.#conversationOf(lane);
    if (!conversation) return;
    if (isAway) return this.#say("away", conversation, this.#outage ?? entry.id);
    const incident = this.#busy.get(lane) ?? entry.id;
    this.#busy.set(lane, incident);
    this.#say("waiting", conversation, incident);
  }

  #conversationOf(lane: string): Conversation | undefined {
    const { account, conversationId, staffId } = splitLane(lane);
    const { store } = this.#options;
    return staffId === undefined
      ? store.conversation(account, conversationId)
      : store.directConversation(account, staffId);
  }

  #say(kind: NoticeKind, conversation: Conversation, incident: string): void {
    const { account, id, staffId } = conversation;
    const to = staffId === undefined ? `conversation:${id}` : `user:${staffId}`;
    this.#send(kind, { account, to, incident: `${id}:${incident}` });
  }

  /** `name`: of the file that the line is about. */
  #send(kind: NoticeKind, about: { account: string; to: string; incident: string; name?: string }): void {
    const { enabled, language, affordable } = this.#options;
    const { name, ...rest } = about;
    if (!enabled[kind] || !affordable(about.account)) return;
    const line = NOTICES[kind][language];
    this.#accept(kind, { ...rest, content: { type: "text", text: name === undefined ? line : aboutFile(line, name) } });
  }

  /** Once for an incident, also over a restart. */
  #accept(
    kind: NoticeKind,
    {
      account,
      to,
      incident,
      ...message
    }: {
      account: string;
      to: string;
      incident: string;
      content: MessageContent;
      mentions?: Mentions;
    },
  ): void {
    const { messages, logger } = this.#options;
    const key = `${KEY}${kind}:${incident}`;
    if (this.#said.has(`${account}\n${key}`)) return;
    if (this.#said.size >= REMEMBERED) this.#said.clear();
    this.#said.add(`${account}\n${key}`);
    const pending: Promise<void> = messages
      .accept({ account, to, ...message }, { scope: { account: undefined }, idempotencyKey: key })
      .then(
        () => undefined,
        (thrown: unknown) => {
          // Said before a restart, in other words: the language was changed since.
          if (thrown instanceof BridgeError && thrown.code === "idempotency_key_reused") return;
          logger.warn({ err: coerceError(thrown), kind, account }, "a notice could not be stored");
        },
      )
      .finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }
}

function lastStep(address: string): string | undefined {
  const step = URL.parse(address)?.pathname.split("/").at(-1);
  try {
    return step === undefined ? undefined : decodeURIComponent(step);
  } catch {
    // Percent signs that encode nothing: they are part of the name.
    return step;
  }
}
