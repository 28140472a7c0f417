import { setTimeout } from "node:timers/promises";
import type { Outcome, Receipt } from "../domain/outcome.ts";
import { parseTarget } from "../domain/target.ts";
import type { Logger } from "../ops/logger.ts";
import type { Admission } from "../queue/lane-runner.ts";
import type { Entry, Part } from "../queue/store.ts";
import type { AccountSender } from "./account.ts";
import { type OutboundContent, type StoredMessage, canMention, isMediaContent } from "./outbound-content.ts";
import { paceOf } from "./outbound-pace.ts";
import { OWN_LIMIT, PartSender, type PartSenderOptions } from "./outbound-part.ts";
import { conversationOf, later, targetOf } from "./outbound-roads.ts";

export interface OutboundOptions extends Omit<PartSenderOptions, "onBlocked"> {
  sender: (account: string) => AccountSender | undefined;
  /** What becomes of a send that was cut off by a crash: sent again, or left for a person to look at. */
  onUncertain: "retry" | "hold";
  logger: Logger;
}

const STORE_PAUSE_MS = 1_000;
const MINUTE_MS = 60_000;
/** Lanes remembered to wait at a door of their own. */
const BLOCKED_LANES = 10_000;

/**
 * Outbox → DingTalk, for messages: part by part, in order; roads are chosen at the time of the send (outbound-part.ts). An
 * entry of another kind in a lane of its own is another flow's: the composition tells them apart by `entry.kind`.
 */
export class OutboundFlow {
  readonly #options: OutboundOptions;
  readonly #parts: PartSender;
  /** What the first entry of a lane was turned back by, where its roads do not tell: a pause of uploads, no slot for files. */
  readonly #doors = new Map<string, { seq: number; door: Admission }>();

  constructor(options: OutboundOptions) {
    this.#options = options;
    this.#parts = new PartSender({ ...options, onBlocked: (entry, door) => this.#block(entry, door) });
  }

  /** The door that the first entry of a lane has to pass: its conversation's pace, then the peer it would be sent to. */
  admission(lane: string): Admission | undefined {
    const { store, pacing } = this.#options;
    const { account, target } = targetOf(lane);
    const sender = this.#options.sender(account);
    if (!sender) return undefined;
    const conversation = conversationOf(store, account, target);
    const wait = paceOf(pacing, account, target, conversation).wait();
    if (wait > 0) return pacing.door(wait);
    const blocked = this.#doors.get(lane);
    if (blocked && store.head("outbox", lane)?.seq === blocked.seq) return blocked.door;
    this.#doors.delete(lane);
    // What the entry holds is not known before it is begun: most are text.
    const roads = this.#parts.roads(sender, target, conversation, { type: "text", text: "" });
    const gates = roads.map(({ api }) => sender.gates[api]);
    return gates.find(({ isOpen }) => isOpen) ?? gates[0];
  }

  #block({ lane, seq }: Entry, door: Admission): void {
    if (this.#doors.size >= BLOCKED_LANES) this.#doors.clear();
    this.#doors.set(lane, { seq, door });
  }

  /** Before the first send: what was sent in the last minute, before the start, counts too. */
  seedPacing(): void {
    const { store, clock, pacing } = this.#options;
    const now = clock.now();
    for (const { lane, at } of store.recentSends({ from: now - MINUTE_MS, now })) {
      const { account, target } = targetOf(lane);
      const pace = paceOf(pacing, account, target, conversationOf(store, account, target));
      pace.answered(Math.min(MINUTE_MS, Math.max(0, now - at)));
    }
  }

  /** Sends what of the entry is not delivered yet, in order; each part is settled by itself. */
  async deliver(entry: Entry, signal: AbortSignal): Promise<Outcome> {
    const { store, clock, pacing, logger } = this.#options;
    this.#doors.delete(entry.lane);
    const sender = this.#options.sender(entry.account);
    const message = entry.body as StoredMessage;
    const target = parseTarget(message.to);
    // At the door of its account it waits without being tried.
    if (!sender) return later("account_paused", `account ${entry.account} is not configured`, 0);
    if (!target) return { kind: "rejected", code: "no_route", detail: `not a target: ${message.to}` };
    const parts = store.parts(entry.seq);
    if (this.#options.onUncertain === "hold" && mayRepeat(entry, parts)) {
      return { kind: "uncertain", code: "interrupted", detail: "the bridge ended while it was being sent" };
    }
    const pace = paceOf(pacing, entry.account, target, conversationOf(store, entry.account, target));
    const mentioning = parts.find(({ body }) => canMention(body as OutboundContent))?.n;
    let last: Receipt | undefined;
    let refused: Outcome | undefined;
    for (const part of parts) {
      last = part.receipt;
      if (part.receipt) continue;
      if (signal.aborted) return later("interrupted", "stopped before this part was sent", 0);
      if (message.expiresAt !== undefined && clock.now() > message.expiresAt) {
        return { kind: "rejected", code: "too_old", detail: "its ttlMs ended before it could be sent" };
      }
      const mentions = part.n === mentioning ? message.mentions : undefined;
      const outcome = await this.#parts.send({ entry, sender, target, part, parts, mentions, signal });
      if (outcome.kind === "retry" && outcome.code === "recipient_throttled") {
        return { ...outcome, afterMs: pace.throttled() };
      }
      if (outcome.kind === "rejected" && isMediaContent(part.body as OutboundContent)) {
        // Its caption goes out all the same: the entry is a dead letter of which only the file is left to send.
        logger.warn({ account: entry.account, entryId: entry.id, code: outcome.code }, "a file was refused");
        refused = outcome;
        continue;
      }
      if (outcome.kind !== "delivered") return outcome.kind === "rejected" ? (refused ?? outcome) : outcome;
      pace.taken();
      const receipt = outcome.receipt ?? { route: "open-api" as const, at: clock.now() };
      last = receipt;
      await this.#keep(() => store.deliverPart(entry.seq, part.n, receipt), signal);
      const { at: _, ...way } = receipt;
      logger.debug(
        { account: entry.account, entryId: entry.id, ...answered(entry), part: part.n + 1, of: parts.length, ...way },
        "part sent",
      );
      // Waiting here would keep a worker from other conversations.
      const wait = pace.wait();
      if (wait > 0 && part.n < parts.length - 1) return later("pacing", OWN_LIMIT, wait);
    }
    if (refused) return refused;
    return last ? { kind: "delivered", receipt: last } : { kind: "delivered" };
  }

  /** What was sent must not be sent again because the disk is full: tries until it is stored, or the daemon gives up. */
  async #keep(write: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await write();
      } catch {
        await setTimeout(STORE_PAUSE_MS, undefined, { signal });
      }
    }
  }
}

/** What an entry of the outbox answers: with it the life of one message is found by one id. */
export function answered({ body }: Entry): { inReplyTo?: string } {
  const { inReplyTo } = body as Partial<StoredMessage>;
  return inReplyTo === undefined ? {} : { inReplyTo };
}

/** A crash left it open whether the next part was sent, and sending it again would show it twice. A card has a name. */
function mayRepeat(entry: Entry, parts: readonly Part[]): boolean {
  if (entry.crashes === 0 || !entry.uncertain) return false;
  const next = parts.find(({ receipt }) => receipt === undefined)?.body as OutboundContent | undefined;
  return next?.type !== "card" && next?.type !== "card.update";
}
