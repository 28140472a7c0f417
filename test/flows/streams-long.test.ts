import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { QUICK, appeared, cardCalls, cardOf, ended, finish, open, put, settled, shownOn } from "./stream-support.ts";

const LIMIT = 200;

let bridge: TestBridge;
let people = 0;
beforeAll(async () => {
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: { ...QUICK, BRIDGE_REPLY_CARD_CHARACTERS: String(LIMIT) },
  });
});
afterAll(() => bridge.close());

/** Somebody nobody wrote to yet. */
function somebody(): string {
  const staffId = `staff9${people++}`;
  bridge.dingtalk.addUser({ staffId, name: "王五" });
  return `user:${staffId}`;
}

const words = (count: number, from = 0): string[] => Array.from({ length: count }, (_, index) => `w${from + index}.`);
/** Words in paragraphs of five. */
function textOf(all: string[]): string {
  return all
    .map((word, index) => (index % 5 === 4 ? `${word}\n\n` : `${word} `))
    .join("")
    .trimEnd();
}
const wordsIn = (text: string): string[] => text.match(/w\d+\./g) ?? [];

/** What the person has: of the card, then of the messages. */
function seen(id: string): string[] {
  const track = cardOf(bridge, id);
  const to = track?.userId;
  const sent = bridge.dingtalk.sent.filter(({ userIds }) => to !== undefined && userIds?.includes(to));
  return [track?.params["msgContent"] ?? "", ...sent.map(({ text }) => text)].flatMap(wordsIn);
}

describe("a reply that is too long for one card", () => {
  it("closes the card at once, and sends the rest when it ends", async () => {
    const all = words(100);
    const { id } = await open(bridge, { to: somebody() });
    await put(bridge, id, 0, textOf(all.slice(0, 20)));
    await appeared(bridge, id);
    await put(bridge, id, 1, textOf(all.slice(0, 60)));
    const card = await ended(bridge, id);
    const shown = card.params["msgContent"];
    expect(shown?.length).toBeLessThanOrEqual(LIMIT + 100);
    await put(bridge, id, 2, textOf(all.slice(0, 80)));
    await settled(bridge);
    expect(bridge.dingtalk.sent).toEqual([]);
    await finish(bridge, id, textOf(all));
    await settled(bridge);
    expect(cardOf(bridge, id)?.params["msgContent"]).toBe(shown);
    expect(seen(id)).toEqual(all);
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("that says something else at last is sent anew", async () => {
    const { id } = await open(bridge, { to: somebody() });
    await put(bridge, id, 0, textOf(words(60)));
    await ended(bridge, id);
    const other = words(60, 1_000);
    await finish(bridge, id, textOf(other));
    await settled(bridge);
    expect(seen(id).slice(-60)).toEqual(other);
  });

  it("that ends with what the card says sends nothing more", async () => {
    const { id } = await open(bridge, { to: somebody() });
    await put(bridge, id, 0, textOf(words(60)));
    await ended(bridge, id);
    const shown = shownOn(bridge, id) ?? "";
    const before = bridge.dingtalk.sent.length;
    expect(await finish(bridge, id, textOf(wordsIn(shown)))).toMatchObject({ status: "delivered" });
    await settled(bridge);
    expect(bridge.dingtalk.sent).toHaveLength(before);
  });

  it("that is left after its card was full: the rest, with a note", async () => {
    const all = words(60);
    const { id } = await open(bridge, { to: somebody(), idleTimeoutMs: 1_000 });
    await put(bridge, id, 0, textOf(all));
    await ended(bridge, id);
    await expect.poll(() => seen(id), { timeout: 10_000 }).toEqual(all);
    expect(bridge.dingtalk.sent.at(-1)?.text).toContain("（回复中断）");
  });

  it("says everything once, in order, however it comes and whenever it ends", { timeout: 90_000 }, async () => {
    const plan = fc.record({
      total: fc.integer({ min: 1, max: 150 }),
      cuts: fc.array(fc.integer({ min: 0, max: 150 }), { maxLength: 6 }),
      waits: fc.boolean(),
      more: fc.integer({ min: 0, max: 60 }),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ total, cuts, waits, more }) => {
        const { id } = await open(bridge, { to: somebody() });
        const all = words(total + more);
        const ends = cuts.filter((cut) => cut <= total).toSorted((a, b) => a - b);
        for (const [seq, end] of ends.entries()) {
          await put(bridge, id, seq, textOf(all.slice(0, end)));
          if (waits && end > 0) await appeared(bridge, id);
        }
        const calls = cardCalls(bridge).length;
        await finish(bridge, id, textOf(all));
        await settled(bridge);
        const card = cardOf(bridge, id);
        if (card) expect(card.flowStatus).toBe("3");
        const told = card ? seen(id) : bridge.dingtalk.sent.flatMap(({ text }) => wordsIn(text)).slice(-all.length);
        expect(told).toEqual(all);
        expect(cardCalls(bridge).length).toBeGreaterThanOrEqual(calls);
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });
});
