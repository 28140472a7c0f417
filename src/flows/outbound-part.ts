import { imagesIn } from "../domain/markdown-images.ts";
import type { Outcome } from "../domain/outcome.ts";
import type { Target } from "../domain/target.ts";
import type { Clock } from "../ops/clock.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Admission } from "../queue/lane-runner.ts";
import type { Conversation, Entry, Part, QueueStore } from "../queue/store.ts";
import type { AccountSender } from "./account.ts";
import { callApi } from "./api-call.ts";
import type { MarkdownImages } from "./markdown-images.ts";
import type { MediaContext, MediaSender, Prepared } from "./media-sender.ts";
import type { MediaSlots } from "./media-slots.ts";
import type { MediaUploads } from "./media-uploads.ts";
import { type Mentions, type OutboundContent, isMediaContent } from "./outbound-content.ts";
import { type Pace, paceOf } from "./outbound-pace.ts";
import {
  type ReadyContent,
  type Road,
  budgetOf,
  conversationOf,
  failureOf,
  goesOn,
  isGroup,
  isNoSend,
  later,
  roadsOf,
  takeRoad,
} from "./outbound-roads.ts";
import type { Pacing } from "./pacing.ts";
import type { QuotaGovernor } from "./quota.ts";

export interface PartSenderOptions {
  store: QueueStore;
  /** A webhook is not used in the last so many milliseconds of its life. */
  webhookMarginMs: number;
  /** Says which of the roads burdens the month's budgets least. */
  quota: Pick<QuotaGovernor, "order">;
  pacing: Pacing;
  media: Pick<MediaSender, "prepare">;
  images: Pick<MarkdownImages, "prepare">;
  uploads: Pick<MediaUploads, "forget">;
  slots: MediaSlots;
  clock: Clock;
  metrics: Metrics;
  /** The entry cannot be sent before this door lets its lane in. */
  onBlocked: (entry: Entry, door: Admission) => void;
}

/** One part of a message, and all of them: pictures are counted over the message. */
export interface PartToSend {
  entry: Entry;
  sender: AccountSender;
  target: Target;
  part: Part;
  parts: readonly Part[];
  mentions: Mentions | undefined;
  signal: AbortSignal;
}

interface Attempt extends PartToSend {
  roads: readonly Road[];
  pace: Pace;
}

/** Until it is looked again whether a road is passable. */
const NO_ROAD_MS = 1_000;
/** Remembered; each is a road that would be tried in vain. */
const GONE_WEBHOOKS = 10_000;
export const OWN_LIMIT = "the conversation's own limit";

/** Sends one part: its files are made ready, its roads tried in the order that the month's budgets ask for. */
export class PartSender {
  readonly #options: PartSenderOptions;
  /** Webhooks that DingTalk does not know any more, before their time. */
  readonly #goneWebhooks = new Set<string>();

  constructor(options: PartSenderOptions) {
    this.#options = options;
  }

  /** The roads that a content has now, by its conversation. */
  roads(
    sender: AccountSender,
    target: Target,
    conversation: Conversation | undefined,
    content: OutboundContent,
  ): Road[] {
    const webhook = conversation?.webhook;
    const theirNow = this.#options.clock.now() + sender.clockOffset();
    const isFresh = webhook && webhook.expiresAt - this.#options.webhookMarginMs > theirNow;
    const url = isFresh && !this.#goneWebhooks.has(webhook.url) ? webhook.url : undefined;
    return roadsOf(content, target, conversation, url);
  }

  async send(sending: PartToSend): Promise<Outcome> {
    const { entry, sender, target, part, mentions } = sending;
    const { store, quota, pacing } = this.#options;
    const content = part.body as OutboundContent;
    const conversation = conversationOf(store, entry.account, target);
    const roads = this.roads(sender, target, conversation, content);
    const mention = isGroup(target, conversation) && (mentions?.all === true || (mentions?.userIds?.length ?? 0) > 0);
    const order = quota.order(entry.account, { roads: roads.map(budgetOf), mention });
    const byBudget = order.flatMap((budget) => roads.filter((one) => budgetOf(one) === budget));
    const passable = byBudget.filter(({ api }) => sender.gates[api].admits);
    const [first] = byBudget;
    if (first && passable.length === 0) {
      this.#options.onBlocked(entry, sender.gates[first.api]);
      return later("pacing", "every road is closed", NO_ROAD_MS);
    }
    if (!first) return failureOf([], order.length < roads.length, target);
    const pace = paceOf(pacing, entry.account, target, conversation);
    const outcome = await this.#sendReady(content, { ...sending, roads: passable, pace });
    if (!Array.isArray(outcome)) return outcome;
    // The road that is left is one that pauses or is away now: that is no reason to give the message up.
    if (passable.length < byBudget.length) {
      return { kind: "retry", code: "dingtalk_unavailable", class: "peer-away", detail: "the other road pauses" };
    }
    return failureOf(outcome, order.length < roads.length, target);
  }

  /** With a file that DingTalk has forgotten, once more with the same file uploaded anew. */
  async #sendReady(content: OutboundContent, attempt: Attempt): Promise<Outcome | Outcome[]> {
    const { entry } = attempt;
    for (let again = false; ; again = true) {
      const ready = await this.#ready(content, attempt);
      if (ready.kind !== "ready") {
        return ready.code === "dingtalk_quota_exhausted" ? failureOf([ready], true, attempt.target) : ready;
      }
      const outcome = await this.#try(ready.content, attempt);
      const isStale = !Array.isArray(outcome) && outcome.kind === "rejected" && outcome.code === "media_expired";
      if (!isStale || again || ready.mediaIds.length === 0) return outcome;
      await this.#options.uploads.forget(entry.account, ready.mediaIds);
    }
  }

  /** The outcome that counts; a list of failures when every road failed in a way that is the road's own. */
  async #try(content: ReadyContent, attempt: Attempt): Promise<Outcome | Outcome[]> {
    const { sender, pace, roads } = attempt;
    const failures: Outcome[] = [];
    for (const road of roads) {
      const wait = failures.length > 0 ? pace.wait() : 0;
      if (wait > 0) return later("pacing", OWN_LIMIT, wait);
      const outcome = await this.#take(road, content, attempt);
      const isAway = outcome.kind === "retry" && sender.gates[road.api].shutSince !== undefined;
      if (!isAway && !goesOn(road, outcome)) return outcome;
      failures.push(outcome);
    }
    return failures;
  }

  #take(road: Road, content: ReadyContent, { entry, sender, mentions, pace }: Attempt): Promise<Outcome> {
    const { account, lane } = entry;
    const onAnswer = (outcome: Outcome | undefined): void => {
      // An update changes what is there and shows nobody anything new.
      if (content.type !== "card.update" && !(outcome && isNoSend(outcome))) pace.answered();
      if (road.api === "webhook" && outcome) this.#noteWebhook(road.url, outcome);
    };
    return callApi(sender, { account, lane, api: road.api, onAnswer }, this.#options.metrics, () =>
      takeRoad(sender, road, content, mentions),
    );
  }

  async #ready(content: OutboundContent, attempt: Attempt): Promise<Prepared<ReadyContent>> {
    const { entry, sender, signal, part, parts } = attempt;
    const hasImages = (content.type === "markdown" || content.type === "actionCard") && content.text.includes("![");
    if (!isMediaContent(content) && !hasImages) return { kind: "ready", content, mediaIds: [] };
    const { slots, media, images } = this.#options;
    const giveBack = slots.take();
    if (!giveBack) {
      this.#options.onBlocked(entry, slots);
      return later("media_pending", "other files are on their way", 0);
    }
    const { account, lane, seq, attempts } = entry;
    const context: MediaContext = { account, lane, seq, attempts, sender, signal };
    try {
      if (!isMediaContent(content)) return await images.prepare(content, imagesBefore(parts, part), context);
      const ready = await media.prepare(content, context);
      const isShut = ready.kind === "retry" && !sender.gates.upload.admits;
      if (isShut) this.#options.onBlocked(entry, sender.gates.upload);
      return ready;
    } finally {
      giveBack();
    }
  }

  #noteWebhook(url: string, outcome: Outcome): void {
    if (outcome.kind !== "rejected" || outcome.code !== "webhook_expired") return;
    if (this.#goneWebhooks.size >= GONE_WEBHOOKS) this.#goneWebhooks.clear();
    this.#goneWebhooks.add(url);
  }
}

function imagesBefore(parts: readonly Part[], part: Part): number {
  const texts = parts.filter(({ n }) => n < part.n).map(({ body }) => body as OutboundContent);
  return texts.reduce((sum, body) => sum + (body.type === "markdown" ? imagesIn(body.text).length : 0), 0);
}
