import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFailed, test, vi } from "vitest";
import { type QueueMode, Rig, textOf } from "./support/rig.ts";

const GROUP = { conversationId: "cidMixedCASE+aB/x9Zq==", title: "测试群" };
const SOON = { timeout: 60_000, interval: 50 };
const group = GROUP.conversationId;

/*
 * Whose answer is it? People write quickly, one over the other, stop and begin anew; everything between bridge and plugin is on
 * record. One gateway for both modes of its queue; the tests run in order, and each leaves nothing open.
 */
describe("several messages at a time with a real OpenClaw gateway", () => {
  let rig: Rig;

  beforeAll(async () => {
    rig = await Rig.start([GROUP], "steer");
    for (const person of [{}, { group }]) {
      const before = rig.texts.length;
      await rig.say("say warm", person);
      await vi.waitFor(() => expect(rig.texts).toHaveLength(before + 1), SOON);
    }
  });

  afterAll(async () => await rig?.stop());

  beforeEach(() => {
    onTestFailed(() => console.error(rig.log));
  });

  afterEach(async () => {
    await vi.waitFor(() => expect(rig.loose).toEqual({ streams: [], working: [] }), SOON);
  });

  /** The model says the first words, and the last ones when the returned function is called. */
  const slow = (word: string, first: string, last: string): (() => void) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    rig.model.answers.set(word, async function* () {
      yield first;
      await promise;
      yield last;
    });
    return resolve;
  };
  const asked = (word: string): number =>
    rig.model.requests.filter(({ prompt }) => new RegExp(`say ${word}\\b`).test(prompt)).length;
  const decision = (id: string): unknown => rig.answers(id).findLast(({ status }) => status !== 202 && status !== 503);
  const held = (id: string): boolean => rig.answers(id).some(({ status }) => status === 202);
  const setQueue = async (mode: QueueMode): Promise<void> => {
    await rig.gateway.configure((config) => (config["messages"] = { queue: { mode } }));
    await vi.waitFor(() => expect(rig.gateway.log).toMatch(/config change.*messages/), SOON);
  };

  describe.each(["steer", "followup"] as const)("in %s mode", (mode) => {
    const word = (name: string): string => `${mode}${name}`;

    beforeAll(async () => {
      if (mode !== "steer") await setQueue(mode);
    });

    test("three quick messages of one person: each has its answer", async () => {
      const goOn = slow(word("one"), `first words of ${mode}, `, `last of ${mode}`);
      const one = await rig.say(`say ${word("one")}`);
      await expect.poll(() => rig.card(`first words of ${mode}`), SOON).toBeDefined();
      const two = await rig.say(`say ${word("two")}`);
      await expect.poll(() => held(two), SOON).toBe(true);
      const three = await rig.say(`say ${word("three")}`);
      goOn();

      await expect.poll(() => rig.texts, SOON).toContain(`echo ${word("three")}`);
      expect(rig.answered(`first words of ${mode}, last of ${mode}`)).toBe(one);
      expect(rig.answered(`echo ${word("two")}`)).toBe(two);
      expect(rig.answered(`echo ${word("three")}`)).toBe(three);
      expect(rig.texts.filter((text) => text.includes(`first words of ${mode}`))).toHaveLength(1);
      await expect
        .poll(() => decision(two), SOON)
        .toMatchObject({
          status: 200,
          decision: mode === "steer" ? "merged" : "accepted",
        });
      expect(textOf(rig.card(`first words of ${mode}`)!)).not.toContain("echo");
    });

    test("two people in a group: each has his own, and nobody is @-ed", async () => {
      const goOn = slow(word("gone"), `${mode} to the first, `, "all of it");
      const one = await rig.say(`say ${word("gone")}`, { from: "staff001", group });
      await expect.poll(() => rig.card(`${mode} to the first`), SOON).toBeDefined();
      const two = await rig.say(`say ${word("gtwo")}`, { from: "staff002", group });
      await expect.poll(() => held(two), SOON).toBe(true);
      goOn();

      await expect.poll(() => rig.texts, SOON).toContain(`echo ${word("gtwo")}`);
      expect(rig.answered(`${mode} to the first, all of it`)).toBe(one);
      expect(rig.answered(`echo ${word("gtwo")}`)).toBe(two);
      expect(rig.sim.sent.flatMap(({ mentions }) => mentions)).toEqual([]);
    });
  });
});
