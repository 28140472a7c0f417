import { type Placed, mostOverdue } from "./order.ts";
import type { CardSeen, MessageSeen, StreamLedger, StreamSeen } from "./stream-ledger.ts";
import { INTERRUPTED, isPointer, spellOut, squashed, withNote } from "./stream-text.ts";
import { streamMarksIn } from "./stream-script.ts";

/** So long around the life of a stream a kill may have to do with what became of it. */
const AROUND_MS = 12_000;
/** A gateway that is silent for so long may have been taken for gone; well below the idle timeout. */
const SILENCE_MS = 3_500;
/** What was on the card so long before a kill was certainly written down. */
const WRITTEN_MS = 1_000;

export interface StreamVerdict {
  streams: number;
  cards: number;
  messages: number;
  finishedInTime: number;
  finishedLate: number;
  neverFinished: number;
  /** Cards that a killed DingTalk forgot before they ended. */
  forgotten: number;
  /** Streams whose text, or a piece of it, was to be seen more often than needed, after a kill or a late end. */
  repeated: number;
  /** Streams whose card showed more before a kill of the bridge than what it ended with. */
  shrank: number;
  /** Never ended, and nothing was ever to be seen of what was only in the bridge's memory when it was killed. */
  vanished: number;
  broken: string[];
}

/** What is wrong with one stream, and what there is to count. */
interface Judged {
  broken: string[];
  kind: "inTime" | "late" | "never";
  isRepeated: boolean;
  shrank: boolean;
  vanished: boolean;
}

/** Everything that the parties saw, and what of it must not be. `since`: only streams opened after it. */
export function judgeStreams(ledger: StreamLedger, since = -Infinity): StreamVerdict {
  const streams = [...ledger.streams.values()].filter(({ openedAt }) => openedAt > since);
  const judged = streams.map((stream) => judge(stream, ledger));
  const cards = streams.flatMap(({ key }) => ledger.cards.get(key) ?? []);
  const count = (of: (one: Judged) => boolean): number => judged.filter((one) => of(one)).length;
  return {
    streams: streams.length,
    cards: cards.length,
    messages: streams.reduce((sum, { key }) => sum + (ledger.messages.get(key)?.length ?? 0), 0),
    finishedInTime: count(({ kind }) => kind === "inTime"),
    finishedLate: count(({ kind }) => kind === "late"),
    neverFinished: count(({ kind }) => kind === "never"),
    forgotten: cards.filter((card) => card.life < ledger.life && !isTerminal(card)).length,
    repeated: count(({ isRepeated }) => isRepeated),
    shrank: count(({ shrank }) => shrank),
    vanished: count(({ vanished }) => vanished),
    broken: [
      ...judged.flatMap(({ broken }) => broken),
      ...nameless(ledger),
      ...disorder(ledger, streams),
      ...ledger.problems.map((problem) => `DingTalk: ${problem}`),
    ],
  };
}

const isTerminal = ({ flowStatus }: CardSeen): boolean => flowStatus === "3" || flowStatus === "5";

function judge(stream: StreamSeen, ledger: StreamLedger): Judged {
  const { key, finishing, finished } = stream;
  const cards = ledger.cards.get(key) ?? [];
  const messages = ledger.messages.get(key) ?? [];
  const kind = kindOf(stream, ledger);
  const said = text(stream, ledger, { kind, cards, messages });
  const broken = [
    ...said.broken,
    ...cards.flatMap((card) => ofCard(card, stream, ledger.life)),
    ...(cards.length > new Set(cards.map(({ life }) => life)).size ? ["two cards at one time"] : []),
    ...[...messages, ...cards]
      .filter(({ conversation, place }) => place < Infinity && !isSame(conversation, stream))
      .map(() => "to be seen in another conversation"),
    ...unexpected(stream, ledger),
    ...(finished && finished.status !== 202 ? [`finish: ${finished.status} ${finished.detail}`] : []),
    ...(finishing && !finished && !stream.isLeft ? ["the finish has no answer"] : []),
  ];
  const isTroubled = kind !== "inTime" || killsAround(stream, ledger, ["bridge", "dingtalk"]).length > 0;
  if (said.isRepeated && !isTroubled) broken.push("said more than once, without a reason");
  const end = finishing ? `${finishing.body.outcome} ${finishing.body.text.length} of ${stream.text.length}` : "no end";
  const detail = (): string =>
    `${stream.conversation}, ${cards.length} cards, ${messages.length} messages, ${kind}, ${end}, 202 ${String(finished?.status === 202)}`;
  return {
    kind,
    broken: broken.map((what) => `${key}: ${what} (${detail()})`),
    isRepeated: said.isRepeated,
    shrank: shrank(cards, ledger),
    vanished: said.vanished,
  };
}

/** A message by webhook or to a person is named after the direct conversation. */
const isSame = (conversation: string, stream: StreamSeen): boolean =>
  stream.conversation.startsWith("user:") || stream.conversation === `conversation:${conversation}`;

function ofCard(card: CardSeen, { finishing }: StreamSeen, life: number): string[] {
  const isForgotten = card.life < life;
  const failed = finishing?.body.outcome === "failed";
  return [
    ...(!isTerminal(card) && !isForgotten
      ? [`the card is in state ${card.flowStatus}: ${card.content.slice(-40)}`]
      : []),
    ...(card.deliveries > 1 ? [`the card was put into the chat ${card.deliveries} times`] : []),
    ...(card.isBlank ? ["the card was blank"] : []),
    ...(card.flowStatus === "5" && !failed ? ["the card failed, the reply did not"] : []),
  ];
}

/** When it was silent long enough to be taken for gone, or its gateway was. */
function kindOf(stream: StreamSeen, ledger: StreamLedger): Judged["kind"] {
  const { finishing, finished, puts, openedAt } = stream;
  if (!finishing || !finished) return "never";
  const heard = [openedAt, ...puts.filter(({ status }) => status === 204).map(({ from }) => from), finished.at];
  const silence = Math.max(...heard.slice(1).map((at, n) => at - (heard[n] ?? at)));
  const isLeft = killsAround(stream, ledger, ["gateway"]).some((at) => at < finishing.at);
  return silence > SILENCE_MS || isLeft ? "late" : "inTime";
}

function killsAround({ openedAt, puts, finished }: StreamSeen, ledger: StreamLedger, victims: string[]): number[] {
  const until = Math.max(openedAt, puts.at(-1)?.at ?? 0, finished?.at ?? 0) + AROUND_MS;
  return ledger.kills
    .filter(({ victim, at }) => victims.includes(victim) && at > openedAt - 1_000 && at < until)
    .map(({ at }) => at);
}

/** Answers to PUTs that a stream which is not left must not get. */
function unexpected(stream: StreamSeen, { kills }: StreamLedger): string[] {
  const { puts, openedAt } = stream;
  return puts.flatMap(({ from, status }, n) => {
    if (status === 204 || status === 0) return [];
    // Gateways that were started again do not update what others opened.
    const before = puts.slice(0, n).findLast(({ status }) => status === 204)?.from ?? openedAt;
    const isLate = from - before > SILENCE_MS;
    const isStopping = status === 503 && kills.some(({ at }) => Math.abs(at - from) < AROUND_MS);
    return isLate || isStopping ? [] : [`a PUT was answered ${status}`];
  });
}

/** Whether all that has to be said is said. */
function text(
  stream: StreamSeen,
  ledger: StreamLedger,
  { kind, cards, messages }: { kind: Judged["kind"]; cards: CardSeen[]; messages: MessageSeen[] },
): { broken: string[]; isRepeated: boolean; vanished: boolean } {
  const pieces = [...cards.filter(({ content }) => !isPointer(content)), ...messages]
    .toSorted((a, b) => a.place - b.place)
    .map((piece) => squashed("content" in piece ? piece.content : piece.text));
  const { finishing, finished } = stream;
  const isTaken = finished?.status === 202;
  const wanted = finishing?.body.text.trim() ?? "";
  if (isTaken && wanted !== "") {
    // It may have been all that was known when the stream was left: then it was sent as such.
    const known = kind === "late" ? [wanted, withNote(wanted)] : [wanted];
    const found = known.map((one) => spellOut(pieces, one)).find((one) => one !== undefined);
    if (found) return { broken: [], isRepeated: pieces.length > found.used, vanished: false };
    return { broken: [`not all of its text is to be seen: ${shortened(pieces)}`], isRepeated: false, vanished: false };
  }
  const least = leastKnown(stream, ledger, cards);
  const known = [0, ...stream.lengths].filter((length) => length >= least).toReversed();
  const before = known.map((length) => stream.text.slice(0, length));
  const outcome = finishing?.body.outcome;
  // A finish without an answer may have been taken.
  const candidates = [
    ...before.map(withNote),
    ...(finishing && wanted === "" && outcome !== "failed" ? before : []),
    ...(!isTaken && wanted !== "" ? [wanted] : []),
  ];
  const found = candidates.map((one) => spellOut(pieces, one)).find((one) => one !== undefined);
  if (pieces.length > 0 && found) return { broken: [], isRepeated: pieces.length > found.used, vanished: false };
  const isNothing = pieces.length === 0;
  // What was only in memory, or what nobody asked to be sent.
  const mayBeNothing = least === 0 || (isTaken && wanted === "" && cards.length === 0);
  // A card that DingTalk forgot was all there was of a reply that ended without a text.
  const isForgotten = isTaken && wanted === "" && cards.some((card) => card.life < ledger.life);
  if ((isNothing && mayBeNothing) || isForgotten) {
    return { broken: [], isRepeated: false, vanished: !isTaken && stream.puts.length > 0 };
  }
  const broken = [`what was known of it is not to be seen, at least ${least} characters: ${shortened(pieces)}`];
  return { broken, isRepeated: false, vanished: false };
}

const shortened = (pieces: string[]): string =>
  `[${pieces.map((one) => (one.length > 90 ? `${one.slice(0, 40)}…(${one.length})…${one.slice(-40)}` : one)).join(" | ")}]`;

/**
 * How much of a stream that nobody ended must have been kept: what the bridge took since its last kill, and what was to be seen
 * for a while before.
 */
function leastKnown(stream: StreamSeen, ledger: StreamLedger, cards: CardSeen[]): number {
  const { puts, openedAt } = stream;
  const killed = Math.max(-Infinity, ...killsAround(stream, ledger, ["bridge"]));
  const taken = puts.filter(({ status, from }) => status === 204 && from > killed).map(({ length }) => length);
  const shown = cards.flatMap(({ shown }) => shown.filter(({ at }) => at < killed - WRITTEN_MS));
  const blocks = shown.flatMap(({ content }) => streamMarksIn(content)?.blocks ?? []);
  const last = Math.max(-1, ...blocks.filter((n) => n < 999));
  const begun = last < 0 ? 0 : stream.text.indexOf(`/${last}⟫`);
  return killed < openedAt - 1_000 && taken.length === 0 ? 0 : Math.max(0, begun, ...taken);
}

function shrank(cards: CardSeen[], { kills }: StreamLedger): boolean {
  return cards.some((card) => {
    const most = Math.max(0, ...card.shown.map(({ content }) => squashed(content).length));
    const end = squashed(card.content.replace(INTERRUPTED, "")).length;
    const wasKilled = kills.some(({ victim, at }) => victim === "bridge" && at > card.shownAt);
    return isTerminal(card) && wasKilled && !isPointer(card.content) && end < most - 10;
  });
}

/** Cards that nobody can name never said anything. */
function nameless({ nameless, life }: StreamLedger): string[] {
  return [...nameless.values()]
    .filter((card) => card.life === life && !isTerminal(card))
    .map(
      ({ outTrackId, flowStatus, content }) =>
        `card ${outTrackId} without a name is in state ${flowStatus}: ${content}`,
    );
}

/** Messages that were taken first are above the card, and what ends a stream is below what was taken before. */
function disorder(ledger: StreamLedger, streams: StreamSeen[]): string[] {
  const notes = [...ledger.notes.values()].map(({ key, conversation, postedAt, acceptedAt }) => ({
    conversation,
    placed: {
      text: key,
      saidAt: postedAt,
      ackedAt: acceptedAt,
      turn: ledger.messages.get(key)?.[0]?.place ?? Infinity,
    },
  }));
  const cards = streams.flatMap((stream) => {
    const [card] = ledger.cards.get(stream.key) ?? [];
    const first = stream.puts[0];
    if (!card || !first) return [];
    const placed = { text: `card of ${stream.key}`, saidAt: first.from, ackedAt: card.shownAt, turn: card.place };
    return [{ conversation: stream.conversation, placed }];
  });
  const lost = notes
    .filter(({ placed }) => Number.isFinite(placed.ackedAt) && placed.turn === Infinity)
    .map(({ placed }) => `${placed.text}: answered 202 and never at DingTalk`);
  const byConversation = Map.groupBy([...notes, ...cards], ({ conversation }) => conversation);
  return [
    ...lost,
    ...[...byConversation.values()].flatMap((list) => mostOverdue(list.map(({ placed }): Placed => placed))),
  ];
}
