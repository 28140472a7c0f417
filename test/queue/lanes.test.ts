import { describe, expect, it } from "vitest";
import type { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { cardLane, controlLane, conversationLane, isControlLane, splitLane, userLane } from "../../src/queue/store.ts";
import { conversation, crashImage, entry, openStore, temporaryDirectory } from "./helpers.ts";
import { LANE, finalise, rest } from "./stream-helpers.ts";

const CARD = cardLane("main", "br_1");

describe("the name of a lane", () => {
  it("says what it is the lane of", () => {
    const nothing = { staffId: undefined, outTrackId: undefined };
    expect(splitLane(LANE)).toEqual({ account: "main", conversationId: "cidA", ...nothing });
    expect(splitLane(controlLane(LANE))).toEqual(splitLane(LANE));
    const person = { ...nothing, conversationId: "user:staff:001", staffId: "staff:001" };
    expect(splitLane(userLane("main", "staff:001"))).toEqual({ account: "main", ...person });
    // The words alone make no card: an id is opaque, and case counts.
    for (const id of ["cid card:", "Card:x", "card", ""]) {
      expect(splitLane(conversationLane("main", id))).toEqual({ account: "main", conversationId: id, ...nothing });
    }
  });

  it("of a card is no conversation's and no person's", () => {
    expect(CARD).toBe("main\ncard:br_1");
    const card = { account: "main", conversationId: "", staffId: undefined };
    expect(splitLane(CARD)).toEqual({ ...card, outTrackId: "br_1" });
    expect(splitLane(cardLane("main", "user:x"))).toEqual({ ...card, outTrackId: "user:x" });
    expect(isControlLane(CARD)).toBe(false);
  });
});

describe("recent sends, which pacing begins with", () => {
  const sends = (store: SqliteStore): unknown[] =>
    store.recentSends({ from: 10, now: 99 }).map(({ lane, at }) => [lane, at]);

  it("are messages; what was done to a card is none, settled, in part, or without a known end", async () => {
    const directory = temporaryDirectory();
    const store = openStore(directory);
    const receipt = (at: number) => ({ route: "open-api", at }) as const;
    for (const [n, append] of [
      (at: number) => rest(at),
      (at: number) => finalise(at, { lane: cardLane("main", `br_${at}`), parts: [{}, {}] }),
    ].entries()) {
      const settled = await store.append(append(10 + n));
      await store.deliverPart(settled.seq, 0, receipt(20 + n));
      await store.settle(settled.seq, { state: "delivered", at: 20 + n, receipt: receipt(20 + n) });
      const partly = await store.append(append(20 + n));
      await store.deliverPart(partly.seq, 0, receipt(30 + n));
      await store.begin(partly.seq);
    }
    expect(sends(store)).toEqual([
      [LANE, 20],
      [LANE, 30],
    ]);
    expect(sends(openStore(crashImage(directory)))).toEqual([
      [LANE, 20],
      [LANE, 30],
      [LANE, 99],
    ]);
  });

  it("know a conversation whose id only looks like a card", async () => {
    const store = openStore();
    const lane = conversationLane("main", "xcard:1");
    const { seq } = await store.append(rest(1, { lane }));
    await store.deliverPart(seq, 0, { route: "webhook", at: 20 });
    expect(sends(store)).toEqual([[lane, 20]]);
  });
});

it("a card's dead letter is listed, and opened again in its own lane", async () => {
  const store = openStore();
  const { seq } = await store.append(finalise(1));
  await store.append(rest(1));
  await store.settle(seq, { state: "dead", at: 5, error: { code: "rejected", detail: "" } });
  expect(store.deadLetters({ limit: 10 })).toMatchObject([{ id: "main:finish1", kind: "card.finish", lane: CARD }]);
  await store.append(entry("a"), conversation({ id: "cidDirect", staffId: "staff001" }));
  expect(await store.replay("outbox", "main:finish1", 9)).toMatchObject({ lane: CARD, state: "open" });
  expect(store.head("outbox", CARD)).toMatchObject({ seq });
  expect(store.front("outbox", LANE, 10)).toHaveLength(1);
});
