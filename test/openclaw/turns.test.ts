import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFailed, test, vi } from "vitest";
import { commandsOvertake, explainsSilence, takesSeveral } from "./support/release.ts";
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
  const setChannel = async (settings: object): Promise<void> =>
    await rig.gateway.configure((config) => {
      const { dingtalk } = config["channels"] as { dingtalk: object };
      config["channels"] = { dingtalk: { ...dingtalk, ...settings } };
    });
  /** How often the channel has been started. */
  const announced = (): number => rig.gateway.log.split("account default: bridge at").length;
  let queue: QueueMode = "steer";
  const setQueue = async (mode: QueueMode): Promise<void> => {
    if (mode === queue) return;
    queue = mode;
    const { length } = rig.gateway.log;
    await rig.gateway.configure((config) => (config["messages"] = { queue: { mode } }));
    await vi.waitFor(() => expect(rig.gateway.log.slice(length)).toMatch(/config change.*messages/), SOON);
  };

  describe.each(["steer", "followup"] as const)("in %s mode", (mode) => {
    const word = (name: string): string => `${mode}${name}`;

    beforeAll(async () => {
      await setQueue(mode);
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
          decision: mode === "steer" && takesSeveral() ? "merged" : "accepted",
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

    test("what waited grows in a card of its own", async () => {
      const goOn = slow(word("before"), `${mode} before it, `, "done");
      await rig.say(`say ${word("before")}`);
      await expect.poll(() => rig.card(`${mode} before it`), SOON).toBeDefined();
      const end = slow(word("grows"), `${mode} grows `, "to its end");
      const id = await rig.say(`say ${word("grows")}`);
      await expect.poll(() => held(id), SOON).toBe(true);
      goOn();

      await expect.poll(() => rig.card(`${mode} grows`), SOON).toBeDefined();
      const card = rig.card(`${mode} grows`)!;
      end();
      await expect.poll(() => card.flowStatus, SOON).toBe("3");
      expect(textOf(card)).toBe(`${mode} grows to its end`);
      expect(rig.answered(`${mode} grows to its end`)).toBe(id);
      expect(rig.texts.filter((text) => text.includes(`${mode} grows`))).toHaveLength(1);
    });

    test("/stop ends the run and what its sender has waiting, and nobody else's", async () => {
      slow(word("endless"), `${mode} goes on and on`, "");
      await rig.say(`say ${word("endless")}`, { from: "staff001", group });
      await expect.poll(() => rig.card(`${mode} goes on`), SOON).toBeDefined();
      const card = rig.card(`${mode} goes on`)!;
      const own = await rig.say(`say ${word("own")}`, { from: "staff001", group });
      const other = await rig.say(`say ${word("other")}`, { from: "staff002", group });
      await expect.poll(() => held(other), SOON).toBe(true);
      // Not one of the bridge's own stop words: it goes on asking about what waits.
      await rig.say("停止", { from: "staff001", group });

      await expect.poll(() => card.flowStatus, SOON).toBe("3");
      expect(textOf(card)).toBe(`${mode} goes on and on`);
      expect(rig.model.requests.findLast(({ word: said }) => said === word("endless"))).toMatchObject({
        isAborted: true,
      });
      await expect.poll(() => decision(own), SOON).toMatchObject({ status: 200, decision: "stopped" });
      await expect.poll(() => rig.texts, SOON).toContain(`echo ${word("other")}`);
      expect(rig.answered(`echo ${word("other")}`)).toBe(other);
      expect(asked(word("own"))).toBe(0);
    });

    test("/stop of the bridge's own leaves nothing behind either", async () => {
      slow(word("forever"), `${mode} without an end`, "");
      await rig.say(`say ${word("forever")}`);
      await expect.poll(() => rig.card(`${mode} without an end`), SOON).toBeDefined();
      const card = rig.card(`${mode} without an end`)!;
      const waiting = await rig.say(`say ${word("waiting")}`);
      await expect.poll(() => held(waiting), SOON).toBe(true);
      await rig.say("/stop");

      await expect.poll(() => card.flowStatus, SOON).toBe("3");
      await rig.say(`say ${word("later")}`);
      await expect.poll(() => rig.texts, SOON).toContain(`echo ${word("later")}`);
      expect(asked(word("waiting"))).toBe(0);
    });

    test.each(["/new", "/reset"])("%s in the middle ends what grows", async (command) => {
      const name = word(command.slice(1));
      const goOn = slow(name, `${mode} before ${command}`, "");
      await rig.say(`say ${name}`);
      await expect.poll(() => rig.card(`${mode} before ${command}`), SOON).toBeDefined();
      const card = rig.card(`${mode} before ${command}`)!;
      await rig.say(command);
      if (!commandsOvertake()) goOn();

      await expect.poll(() => card.flowStatus, SOON).toBe("3");
      await rig.say(`say ${name}after`);
      await expect.poll(() => rig.texts, SOON).toContain(`echo ${name}after`);
    });

    test("a command beside a run is answered by itself, and the run goes on", async () => {
      const goOn = slow(word("beside"), `${mode} beside, `, "to the end");
      const run = await rig.say(`say ${word("beside")}`);
      await expect.poll(() => rig.card(`${mode} beside`), SOON).toBeDefined();
      const { length } = rig.texts;
      const isStatus = (text: string): boolean => /OpenClaw \d{4}\./.test(text);
      const status = await rig.say("/status");
      // Before 2026.9 OpenClaw keeps it until the run is over.
      if (!takesSeveral()) goOn();
      await expect.poll(() => rig.texts.slice(length).filter(isStatus), SOON).toHaveLength(1);
      if (takesSeveral()) expect(rig.texts).toHaveLength(length + 1);
      expect(rig.answered(rig.texts.findLast(isStatus)!)).toBe(status);
      goOn();

      await expect.poll(() => rig.texts, SOON).toContain(`${mode} beside, to the end`);
      expect(rig.answered(`${mode} beside, to the end`)).toBe(run);
    });

    test("the configuration of the channel changes in the middle: the answer arrives, and what waited too", async () => {
      const goOn = slow(word("reload"), `${mode} before the change, `, "and after it");
      await rig.say(`say ${word("reload")}`);
      await expect.poll(() => rig.card(`${mode} before the change`), SOON).toBeDefined();
      const waiting = await rig.say(`say ${word("behind")}`);
      await expect.poll(() => held(waiting), SOON).toBe(true);
      const [starts, { length }] = [announced(), rig.gateway.log];
      await setChannel({ botName: `Robot in ${mode} mode` });
      // This OpenClaw waits for the runs of a channel before it starts it anew.
      await expect.poll(() => rig.gateway.log.slice(length), SOON).toContain("(channels.dingtalk.botName)");
      goOn();

      await expect.poll(() => rig.texts, SOON).toContain(`${mode} before the change, and after it`);
      await expect.poll(() => rig.texts, SOON).toContain(`echo ${word("behind")}`);
      await expect.poll(announced, SOON).toBe(starts + 1);
      await rig.say(`say ${word("restarted")}`);
      await expect.poll(() => rig.texts, SOON).toContain(`echo ${word("restarted")}`);
      expect(rig.texts.filter((text) => text === `echo ${word("behind")}`)).toHaveLength(1);
      expect(asked(word("behind"))).toBe(1);
    });
  });

  test.skipIf(!takesSeveral())(
    "words that come while a tool runs are answered together with the first ones",
    async () => {
      await setQueue("steer");
      rig.model.answers.set("tool", ({ toolResults }) =>
        toolResults.length === 0 ? { tool: "exec", args: { command: "sleep 3" } } : "done",
      );
      rig.model.answers.set("meanwhile", () => "both of it is done");
      const first = await rig.say("say tool", { from: "staff001", group });
      await expect.poll(() => asked("tool"), SOON).toBe(1);
      const second = await rig.say("say meanwhile", { from: "staff002", group });

      await expect.poll(() => rig.texts, SOON).toContain("both of it is done");
      expect(rig.answered("both of it is done")).toBe(first);
      await expect.poll(() => decision(second), SOON).toMatchObject({ status: 200, decision: "merged" });
      expect(rig.texts.filter((text) => text === "both of it is done")).toHaveLength(1);
    },
  );

  test("what a tool does is shown while it runs, and can be switched off", async () => {
    const shown = (): unknown[] =>
      rig.outbound.of("PUT /v1/streams").flatMap(({ body }) => (body["status"] === undefined ? [] : [body["status"]]));
    rig.model.answers.set("shown", ({ toolResults }) =>
      toolResults.length === 0 ? { tool: "exec", args: { command: "sleep 6" } } : "tool is done",
    );
    await rig.say("say shown");
    await expect.poll(shown, SOON).toEqual(["🛠️ exec"]);
    await expect.poll(() => rig.sim.cards.some((card) => textOf(card).includes("> 🛠️ exec")), SOON).toBe(true);
    await expect.poll(() => rig.texts, SOON).toContain("tool is done");

    const before = shown().length;
    const starts = announced();
    await setChannel({ streaming: { preview: { toolProgress: false } } });
    await expect.poll(announced, SOON).toBe(starts + 1);
    rig.model.answers.set("hidden", ({ toolResults }) =>
      toolResults.length === 0 ? { tool: "exec", args: { command: "sleep 4" } } : "hidden tool is done",
    );
    await rig.say("say hidden");
    await expect.poll(() => rig.texts, SOON).toContain("hidden tool is done");
    expect(shown()).toHaveLength(before);
  });

  test("a model that fails is told of once, in plain words, at the end of what was shown", async () => {
    rig.model.answers.set("refused", () => ({ status: 400, message: "scripted refusal" }));
    const before = rig.texts.length;
    const id = await rig.say("say refused");
    await expect.poll(() => rig.texts.length, SOON).toBe(before + 1);
    const told = rig.texts.at(-1)!;
    expect(told).toMatch(/failed|⚠️/);
    expect(told).not.toMatch(/ at .*:\d+/);
    expect(rig.answered(told)).toBe(id);
  });

  test("a model that fails after it has said something is told of at the end of that, once", async () => {
    rig.model.answers.set("halfway", ({ toolResults }) =>
      toolResults.length === 0
        ? { tool: "exec", args: { command: "sleep 3" }, text: "Let me look at that first." }
        : { status: 400, message: "scripted refusal" },
    );
    await rig.say("say halfway");
    await expect.poll(() => rig.card("Let me look"), SOON).toBeDefined();
    const card = rig.card("Let me look")!;
    await expect.poll(() => card.flowStatus, SOON).not.toBe("2");
    expect(textOf(card)).toMatch(/^Let me look at that first\..*(?:failed|⚠️)/s);
    await rig.say("say afterwards");
    await expect.poll(() => rig.texts, SOON).toContain("echo afterwards");
    expect(rig.sim.sent.filter(({ text }) => /failed|⚠️/.test(text))).toHaveLength(1);
  });

  test("the word for silence is never shown; who was spoken to answers all the same, as OpenClaw wants it", async () => {
    rig.model.answers.set("silent", () => "NO_REPLY");
    const before = rig.texts.length;
    const silent = await rig.say("say silent", { group });
    await expect.poll(() => decision(silent), SOON).toMatchObject({ decision: "accepted" });
    if (explainsSilence()) await expect.poll(() => rig.texts.length, SOON).toBe(before + 1);
    await rig.say("say spoken", { group });
    const explained = explainsSilence() ? [expect.stringMatching(/^⚠️/)] : [];
    await expect.poll(() => rig.texts.slice(before), SOON).toEqual([...explained, "echo spoken"]);
    expect(JSON.stringify([rig.sim.sent, rig.sim.cards])).not.toContain("NO_REPLY");
  });

  test("every message has a key of its own, of the envelope, the run and a count", () => {
    const keys = rig.outbound.of("POST /v1/messages").map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    const isRight = /^main:msg.+\/(?:turn|[0-9a-f-]{36})\/\d+$/;
    expect(rig.outbound.of("POST /v1/messages").filter(({ key }) => !isRight.test(key ?? ""))).toEqual([]);
  });

  test("nobody was told that an answer may be lost", () => {
    expect(rig.texts.filter((text) => text.includes("confirm"))).toEqual([]);
  });

  test("DingTalk had nothing to complain about", () => {
    expect(rig.sim.problems).toEqual([]);
  });
});
