import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";
import type { SimulatedCard } from "../../src/sandbox/dingtalk-card-types.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { oddMessages } from "../../src/sandbox/dingtalk-oddities.ts";
import { Bridge } from "./support/bridge.ts";
import { saidIn } from "./support/chat.ts";
import { Gateway } from "./support/gateway.ts";
import { ModelServer } from "./support/model-server.ts";
import { atLeast, isShort, refusesToSend } from "./support/release.ts";

const APP = { appKey: "dingApp1", appSecret: "secret-of-app-1" };
const GROUP = { conversationId: "cidMixedCASE+aB/x9Zq==", title: "测试群" };
const SOON = { timeout: 60_000, interval: 100 };
/** 1 × 1 pixel. */
const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

/** A plugin that changes what is sent. */
const GUARD = `export default {
  id: "guard",
  name: "Guard",
  register: (api) => api.on("message_sending", ({ content }) => ({ content: content.replace("hunter2", "***") })),
};
`;

/*
 * Files both ways and answers that grow, through the real gateway, plugin and bridge. The model answers by the word after
 * "say". The tests share one gateway and run in order; each begins when the one before is answered, so no turn waits.
 */
describe("files and growing answers with a real OpenClaw gateway", () => {
  const model = new ModelServer();
  let sim: DingtalkSimulator;
  let gateway: Gateway;
  let bridge: Bridge;

  beforeAll(async () => {
    await model.start();
    sim = await startDingtalkSimulator({ apps: [APP], groups: [GROUP] });
    gateway = await Gateway.create(model.url);
    await gateway.installPlugin();
    bridge = await Bridge.start({ ...APP, dingtalkUrl: sim.url, gatewayUrl: gateway.url });
    await gateway.configure((config) => {
      config["channels"] = { dingtalk: { ...APP, bridgeUrl: bridge.url } };
      config["messages"] = { queue: { mode: "followup" } };
    });
    await gateway.start();
    await sim.until("connected");
  });

  afterAll(async () => {
    await bridge?.stop();
    await gateway?.remove();
    await model.stop();
    await sim?.close();
  });

  beforeEach(() => {
    onTestFailed(() => {
      console.error(`--- gateway\n${gateway.log.slice(-4_000)}\n--- bridge\n${bridge?.log.slice(-4_000)}`);
    });
  });

  const texts = (): string[] => saidIn(sim).map(({ text }) => text);
  const textOf = ({ content }: SimulatedCard): string => Object.values(content).join("\n");
  const cardWith = (words: string): SimulatedCard | undefined => sim.cards.find((card) => textOf(card).includes(words));
  const occurrences = (words: string): number => texts().filter((text) => text.includes(words)).length;

  /** Says it and waits for the model's answer; the model is asked `echo` unless it has a rule for the word. */
  const ask = async (word: string, said: Parameters<DingtalkSimulator["say"]>[0] = {}): Promise<void> => {
    await sim.say({ ...said, text: `say ${word}` });
    await expect.poll(texts, SOON).toContain(`echo ${word}`);
  };
  /** A message without words for the model: it answers to the word before. */
  const show = async (said: Parameters<DingtalkSimulator["say"]>[0]): Promise<void> => {
    const before = texts().length;
    await sim.say(said);
    await expect.poll(() => texts().length, SOON).toBe(before + 1);
  };

  test("a long answer grows in a card, whose last text is the model's, and comes no second time", async () => {
    const { promise: seen, resolve: goOn } = Promise.withResolvers<void>();
    const words = ["The first words, ", "then some more, ", "and the **last** ones."];
    model.answers.set("long", async function* () {
      yield words[0]!;
      yield words[1]!;
      await seen;
      yield words[2]!;
    });
    await sim.say({ text: "say long" });

    await expect.poll(() => cardWith("then some more"), SOON).toBeDefined();
    const card = cardWith("then some more")!;
    expect(card.flowStatus).toBe("2");
    goOn();
    await expect.poll(() => card.flowStatus, SOON).toBe("3");
    expect(textOf(card)).toBe(words.join(""));
    await ask("after");
    expect(occurrences("The first words")).toBe(1);
  });

  test("in a group, too, an answer grows", async () => {
    const { promise: seen, resolve: goOn } = Promise.withResolvers<void>();
    model.answers.set("group", async function* () {
      yield "to all of ";
      await seen;
      yield "you";
    });
    await sim.say({ text: "say group", group: GROUP.conversationId });

    await expect.poll(() => cardWith("to all of"), SOON).toBeDefined();
    goOn();
    await expect
      .poll(() => saidIn(sim), SOON)
      .toContainEqual({
        text: "to all of you",
        conversationId: GROUP.conversationId,
      });
  });

  test.each([
    ["by a word", "endless", async () => void (await sim.say({ text: "/stop" }))],
    [
      "by the card's button",
      "boundless",
      async ({ outTrackId }: SimulatedCard) => void (await sim.press({ outTrackId, actionId: "stop" })),
    ],
  ])("stopped %s, a card keeps what it showed, and is finished", async (_, word, stop) => {
    const { promise: never, resolve: goOn } = Promise.withResolvers<void>();
    model.answers.set(word, async function* () {
      yield `this goes on, ${word}`;
      await never;
    });
    await sim.say({ text: `say ${word}` });
    await expect.poll(() => cardWith(`this goes on, ${word}`), SOON).toBeDefined();
    const card = cardWith(`this goes on, ${word}`)!;
    await stop(card);

    await expect.poll(() => card.flowStatus, SOON).toBe("3");
    expect(textOf(card)).toBe(`this goes on, ${word}`);
    goOn();
    await ask(`un${word}`);
  });

  test("the bridge killed in the middle: the answer goes on in its card", async () => {
    const { promise: seen, resolve: goOn } = Promise.withResolvers<void>();
    model.answers.set("crash", async function* () {
      yield "before the crash, ";
      await seen;
      yield "and after it";
    });
    await sim.say({ text: "say crash" });
    await expect.poll(() => cardWith("before the crash"), SOON).toBeDefined();
    const card = cardWith("before the crash")!;
    await bridge.crash();
    goOn();

    await expect.poll(() => card.flowStatus, SOON).toBe("3");
    expect(textOf(card)).toBe("before the crash, and after it");
    await ask("recovered");
    expect(occurrences("and after it")).toBe(1);
  });

  test("what the model says before it uses a tool is to be seen meanwhile, and gone from the answer", async () => {
    const { promise: seen, resolve: goOn } = Promise.withResolvers<void>();
    model.answers.set("tool", ({ toolResults }) =>
      toolResults.length === 0
        ? { tool: "exec", args: { command: "echo tool-was-here" }, text: "Let me look at that first." }
        : (async function* () {
            await seen;
            yield `It says ${toolResults.join().includes("tool-was-here") ? "hello" : "nothing"}.`;
          })(),
    );
    await sim.say({ text: "say tool" });

    await expect.poll(() => cardWith("Let me look"), SOON).toBeDefined();
    const card = cardWith("Let me look")!;
    goOn();
    await expect.poll(() => card.flowStatus, SOON).toBe("3");
    expect(textOf(card)).toBe("It says hello.");
    expect(occurrences("Let me look")).toBe(0);
  });

  test("a slow answer is shown as worked on until it is there", async () => {
    const release = model.hold();
    const said = await sim.say({ text: "say thinking" });
    const mark = () => sim.reactions.find(({ msgId }) => msgId === said.msgId);

    await expect.poll(mark, SOON).toBeDefined();
    release();
    await expect.poll(texts, SOON).toContain("echo thinking");
    await expect.poll(mark, SOON).toMatchObject({ recalled: true });
  });

  test("a picture reaches the model as a picture", async () => {
    await show({ msgtype: "picture", file: PNG });
    expect(model.requests.at(-1)?.images.at(-1)).toEqual(PNG);
  });

  test("a file reaches the agent as a path that it can read", async () => {
    model.answers.set("read", ({ prompt, toolResults }) => {
      if (toolResults.length > 0)
        return `It holds: ${toolResults.join().includes("the secret word is 芝麻") ? "芝麻" : "?"}`;
      const path = /((?:media:)?\/\S*notes\S*\.bin)/.exec(prompt)?.[1];
      if (path === undefined) return "echo read";
      // Older releases name it by an address that OpenClaw's own tools understand.
      if (path.startsWith("media:")) return { tool: "read", args: { path } };
      return { tool: "exec", args: { command: `cat '${path}'` } };
    });
    await ask("read");
    await show({ msgtype: "file", text: "notes.bin", file: Buffer.from("\u0000\u0001 the secret word is 芝麻") });

    expect(texts().at(-1)).toBe("It holds: 芝麻");
    if (atLeast("2026.8.1")) expect(model.requests.at(-1)?.prompt).toContain('"notes.bin"');
  });

  test("a voice message is what was said", async () => {
    await show({ msgtype: "audio", text: "say spoken" });
    expect(texts().at(-1)).toBe("echo spoken");
  });

  test("a file that could not be fetched is named with the reason", async () => {
    const content = { downloadCode: "no-such-code", fileName: "gone.pdf" };
    await show({ msgtype: "file", content });
    expect(model.requests.at(-1)?.prompt).toMatch(/\[file: gone\.pdf, not available: .+\]/);
  });

  test("quotes and names are in what the model reads", async () => {
    await show(oddMessages.quoteText);
    const { context } = model.requests.at(-1)!;
    expect(context).toContain("被引用的正文");
    expect(context).toContain("李四");
    expect(context).toContain("张三");
  });

  test("a file in an answer arrives as the file it is, with its words", async () => {
    await writeFile(join(gateway.workspace, "chart.png"), PNG);
    await writeFile(join(gateway.workspace, "table.csv"), "a,b\n1,2\n");
    model.answers.set("files", () => "Here they are.\nMEDIA:./chart.png\nMEDIA:./table.csv");
    await sim.say({ text: "say files" });

    await expect
      .poll(() => sim.media.uploaded.map(({ fileName }) => fileName), SOON)
      .toEqual(["chart.png", "table.csv.zip"]);
    expect(sim.media.uploaded[0]?.data).toEqual(PNG);
    await expect.poll(() => occurrences("Here they are."), SOON).toBe(1);
    const ids = sim.media.uploaded.map(({ mediaId }) => mediaId);
    await expect
      .poll(() => ids.every((id) => sim.sent.some(({ raw }) => JSON.stringify(raw).includes(id))), SOON)
      .toBe(true);
    expect(texts().filter((text) => text.includes("MEDIA:"))).toEqual([]);
  });

  test.skipIf(isShort() || refusesToSend())(
    "openclaw message send brings a file, and a file outside of what is allowed is refused",
    async () => {
      await gateway.cli(
        ...["message", "send", "--channel", "dingtalk", "--target", "user:staff001", "--message", "from the shell"],
        ...["--media", join(gateway.workspace, "chart.png")],
      );
      await expect.poll(() => occurrences("from the shell"), SOON).toBe(1);
      const refused = gateway.cli(
        ...["message", "send", "--channel", "dingtalk", "--target", "user:staff001", "--message", "stolen"],
        ...["--media", "/etc/hostname"],
      );
      await expect(refused).rejects.toThrow(/message send/);
      expect(occurrences("stolen")).toBe(0);
    },
  );

  test.skipIf(isShort())("an answer comes as a whole when the configuration says so", async () => {
    const { promise: seen, resolve: goOn } = Promise.withResolvers<void>();
    const setStreaming = async (streaming: boolean): Promise<void> => {
      await gateway.configure((config) => {
        const { dingtalk } = config["channels"] as { dingtalk: object };
        config["channels"] = { dingtalk: { ...dingtalk, streaming } };
      });
    };
    const announced = (): number => gateway.log.split("account default: bridge at").length;
    const before = announced();
    await setStreaming(false);
    await expect.poll(announced, SOON).toBe(before + 1);
    model.answers.set("whole", async function* () {
      yield "one piece ";
      await seen;
      yield "and the other";
    });
    const cards = sim.cards.length;
    const asked = model.requests.length;
    await sim.say({ text: "say whole" });
    await expect.poll(() => model.requests.length, SOON).toBeGreaterThan(asked);
    goOn();
    await expect.poll(texts, SOON).toContain("one piece and the other");
    expect(sim.cards).toHaveLength(cards);
    await setStreaming(true);
    await expect.poll(announced, SOON).toBe(before + 2);
  });

  test.skipIf(isShort())(
    "killed in the middle, the card ends with a note, and the answer comes all the same",
    async () => {
      const { promise: never, resolve: goOn } = Promise.withResolvers<void>();
      let isFirst = true;
      model.answers.set("killed", ({ unanswered }) => {
        if (!isFirst) return unanswered.includes("waiting") ? "the whole answer, and echo waiting" : "the whole answer";
        isFirst = false;
        return (async function* () {
          yield "half of an answer";
          await never;
        })();
      });
      // OpenClaw goes on with the interrupted turn by itself, at times in one request with the words that came next.
      model.answers.set("waiting", ({ unanswered }) =>
        unanswered.includes("killed") ? "the whole answer, and echo waiting" : "echo waiting",
      );
      await sim.say({ text: "say killed" });
      await expect.poll(() => cardWith("half of an answer"), SOON).toBeDefined();
      const card = cardWith("half of an answer")!;
      await sim.say({ text: "say waiting" });
      await gateway.kill();
      goOn();
      await gateway.start();

      await expect.poll(texts, SOON).toContainEqual(expect.stringContaining("the whole answer"));
      await expect.poll(() => card.flowStatus, { timeout: 100_000, interval: 500 }).toBe("3");
      expect(textOf(card)).toMatch(/^half of an answer\s+.*中断/s);
      expect(occurrences("the whole answer")).toBe(1);
      // It had waited for its turn in the gateway's memory: the bridge brought it again.
      await expect.poll(() => occurrences("echo waiting"), SOON).toBe(1);
    },
  );

  test.skipIf(isShort())("another plugin that decides over what is sent sees it before anybody else does", async () => {
    await gateway.stop();
    const folder = join(gateway.workspace, "..", "guard");
    await mkdir(folder);
    await writeFile(join(folder, "index.js"), GUARD);
    const manifest = {
      id: "guard",
      name: "Guard",
      activation: { onStartup: true },
      configSchema: { type: "object", properties: {} },
    };
    await writeFile(join(folder, "openclaw.plugin.json"), JSON.stringify(manifest));
    const own = { name: "guard", version: "1.0.0", type: "module", openclaw: { extensions: ["./index.js"] } };
    await writeFile(join(folder, "package.json"), JSON.stringify(own));
    await gateway.installPlugin(folder);
    await gateway.start();
    model.answers.set("secret", async function* () {
      yield "the password is ";
      yield "hunter2";
    });
    const grown = (): number => bridge.log.split("a reply that grew has ended").length;
    const before = grown();
    await sim.say({ text: "say secret" });

    await expect.poll(texts, SOON).toContain("the password is ***");
    expect(grown()).toBe(before);
    expect(JSON.stringify(sim.sent)).not.toContain("hunter2");
  });

  test("DingTalk had nothing to complain about", () => {
    expect(sim.problems).toEqual([]);
  });
});
