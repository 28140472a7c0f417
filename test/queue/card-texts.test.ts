import { describe, expect, it } from "vitest";
import type { AfterCard } from "../../src/queue/card-texts.ts";
import type { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { type NewEntry, userLane } from "../../src/queue/store.ts";
import { conversation, crashImage, entry, openStore, temporaryDirectory } from "./helpers.ts";
import { finalise, rest } from "./stream-helpers.ts";

const parts = (...names: string[]): object[] => names.map((text) => ({ text }));
const after = (state: AfterCard["state"]): object => ({ to: "x", afterCard: { streamId: "st_1", state } });
const waiting = (state: AfterCard["state"] = "waits"): NewEntry =>
  rest(1, { body: after(state), parts: parts("c", "d") });
const head = (fields: Partial<NewEntry> = {}): NewEntry =>
  entry("head", { queue: "outbox", parts: parts("a", "b"), ...fields });
const texts = (store: SqliteStore, id: string): unknown[] =>
  store.parts(store.find("outbox", id)?.seq ?? 0).map(({ n, body }) => [n, (body as { text: string }).text]);

describe("the text of a card that cannot show it", () => {
  it("goes before what waits for the card, once, and is there after a crash", async () => {
    const directory = temporaryDirectory();
    const store = openStore(directory);
    const { seq, lane } = await store.append(waiting());
    const { id, key } = waiting();
    const said = { seq, id, lane };
    expect(await store.cardTexts.instead(head(), ["none", key])).toEqual({ ...said, duplicate: false });
    expect(await store.cardTexts.instead(head(), ["none", key])).toEqual({ ...said, duplicate: true });
    for (const one of [store, openStore(crashImage(directory))]) {
      expect(texts(one, id)).toEqual(["a", "b", "c", "d"].map((text, n) => [n, text]));
      expect(one.find("outbox", id)?.body).toEqual(after("leads"));
      expect(one.find("outbox", head().id)).toBeUndefined();
    }
    expect(await store.cardTexts.follow(seq)).toBe(false);
  });

  it.each<AfterCard["state"] | "cancelled">(["follows", "cancelled"])(
    "goes on its own where that does not wait any more (%s)",
    async (state) => {
      const store = openStore();
      const { id, key } = waiting();
      await store.append(state === "cancelled" ? waiting() : waiting(state));
      if (state === "cancelled") expect(await store.cancel("outbox", id, 1)).toBe(true);
      expect(await store.cardTexts.instead(head(), [key])).toMatchObject({ id: head().id, duplicate: false });
      expect(await store.cardTexts.instead(head(), [key])).toMatchObject({ id: head().id, duplicate: true });
      expect(texts(store, id)).toHaveLength(2);
    },
  );

  it("goes before what waits also when both are committed at once", async () => {
    const store = openStore();
    const { id, key } = waiting();
    await Promise.all([store.append(waiting()), store.cardTexts.instead(head(), [key])]);
    expect(texts(store, id)).toHaveLength(4);
  });

  it("stays where it is while somebody is at the card's end", async () => {
    const store = openStore();
    await store.append(waiting());
    const { id, key } = waiting();
    const finish = await store.append(finalise(1));
    await store.begin(finish.seq);
    expect(await store.cardTexts.instead(head(), [key], finalise(1).key)).toBeUndefined();
    expect(texts(store, id)).toHaveLength(2);
    await store.settle(finish.seq, { state: "open", dueAt: 0, counted: false });
    expect(await store.cardTexts.instead(head(), [key], finalise(1).key)).toMatchObject({ id });
  });

  it("finds what waits in the conversation that the person's lane has become", async () => {
    const store = openStore();
    const lane = userLane("main", "staff001");
    const { key } = waiting();
    await store.append({ ...waiting(), lane });
    await store.append(entry("in"), conversation({ id: "cidDirect", kind: "direct", staffId: "staff001" }));
    const said = await store.cardTexts.instead(head({ lane }), [key]);
    expect(said?.lane).toBe("main\ncidDirect");
  });
});

it("what waited follows the card, and says no more than its own", async () => {
  const store = openStore();
  const { seq } = await store.append(waiting());
  expect(await store.cardTexts.follow(seq)).toBe(true);
  expect(store.find("outbox", waiting().id)?.body).toEqual(after("follows"));
  expect(await store.cardTexts.follow(seq)).toBe(false);
});
