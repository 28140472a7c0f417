import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Reply } from "../src/reply.ts";
import { FakeBridge, problem } from "./support/fake-bridge.ts";

const TARGET = { to: "user:staff001", inReplyTo: "main:m1" };

let fake: FakeBridge;
let isStreaming: boolean;
beforeEach(async () => {
  isStreaming = true;
  fake = new FakeBridge();
  await fake.start();
});
afterEach(async () => await fake.stop());

const begin = (target = TARGET, mention?: string): Reply =>
  new Reply({
    bridge: fake.bridge(),
    target,
    mention,
    runId: () => "run",
    isStreaming: () => isStreaming,
    load: async (source) => {
      if (source.includes("forbidden")) throw new Error(`not allowed: ${source}`);
      return { buffer: Buffer.from(source), fileName: "loaded.png" };
    },
  });
const sent = (): [string | string[] | undefined, unknown][] =>
  fake.of("POST /v1/messages").map(({ headers, body }) => [headers["idempotency-key"], body]);
const contents = (): unknown[] => sent().map(([, body]) => (body as { content: unknown }).content);
const finishes = (): unknown[] => fake.calls.filter(({ what }) => what.endsWith("/finish")).map(({ body }) => body);
const puts = (): unknown[] => fake.of("PUT /v1/streams/").map(({ body }) => body);
const text = (words: string) => ({ type: "text", text: words });

describe("texts", () => {
  test("that did not grow are messages, each with a key of its own", async () => {
    const reply = begin();
    await reply.deliver({ text: " one " }, "final");
    const { visibleReplySent, messageIds } = await reply.deliver({ text: "**two**" }, "final");

    expect([visibleReplySent, messageIds]).toEqual([true, [expect.stringMatching(/^out_/)]]);
    expect(sent()).toEqual([
      ["main:m1/run/0", { account: "main", ...TARGET, content: text("one") }],
      ["main:m1/run/1", { account: "main", ...TARGET, content: { type: "markdown", text: "**two**" } }],
    ]);
    await reply.end("aborted");
    expect(finishes()).toEqual([]);
  });

  test("an empty one is nothing", async () => {
    expect(await begin().deliver({ text: "  " }, "final")).toEqual({ visibleReplySent: false });
    expect(fake.calls).toEqual([]);
  });

  test("that grew end as their stream, once; the next one is a message", async () => {
    const reply = begin();
    reply.grow({ text: "o" });
    await reply.deliver({ text: "one" }, "final");
    await reply.deliver({ text: "two" }, "final");
    await reply.end("aborted");

    expect(finishes()).toMatchObject([{ text: "one", outcome: "done" }]);
    expect(contents()).toEqual([text("two")]);
  });

  test("what comes late of a text that has ended begins nothing; the model's next message does", async () => {
    const reply = begin();
    reply.grow({ text: "o" });
    await reply.deliver({ text: "one" }, "final");
    reply.grow({ text: "one" });
    reply.beginMessage();
    reply.grow({ text: "t" });
    await reply.deliver({ text: "two" }, "final");

    expect(finishes()).toMatchObject([{ text: "one" }, { text: "two" }]);
    expect(fake.of("POST /v1/streams").filter(({ what }) => what === "POST /v1/streams")).toHaveLength(2);
    expect(contents()).toEqual([]);
  });

  test("the results of tools go beside the one that grows", async () => {
    const reply = begin();
    reply.grow({ text: "o" });
    await reply.deliver({ text: "tool says" }, "tool");
    await reply.deliver({ text: "one" }, "final");
    expect(contents()).toEqual([text("tool says")]);
    expect(finishes()).toMatchObject([{ text: "one" }]);
  });

  test("an error stands below what was there", async () => {
    const reply = begin();
    reply.grow({ text: "half an" });
    await expect.poll(() => fake.of("PUT /v1/streams/")).toHaveLength(1);
    await reply.deliver({ text: "it broke", isError: true }, "final");
    expect(finishes()).toMatchObject([{ text: "half an\n\nit broke", outcome: "failed" }]);
  });

  test("nothing grows when it is switched off", async () => {
    isStreaming = false;
    const reply = begin();
    expect(reply.grow({ text: "o" })).toBe(false);
    await reply.deliver({ text: "one" }, "final");
    expect(fake.calls.map(({ what }) => what)).toEqual(["POST /v1/messages"]);
  });

  test("a bridge without streams gets messages", async () => {
    fake.script.set("POST /v1/streams", [problem(404, "not_found")]);
    const reply = begin();
    reply.grow({ text: "o" });
    await reply.deliver({ text: "one" }, "final");
    expect(contents()).toEqual([text("one")]);
  });
});

describe("the end of a turn", () => {
  test.for(["aborted", "failed"] as const)("closes what was never finished: %s", async (outcome) => {
    const reply = begin();
    reply.grow({ text: "half" });
    await reply.end(outcome);
    expect(finishes()).toMatchObject([{ text: "", outcome }]);
    await reply.end(outcome);
    expect(finishes()).toHaveLength(1);
  });

  test("nothing grows after it, and what is delivered is a message", async () => {
    const reply = begin();
    await reply.end("aborted");
    reply.beginMessage();
    reply.grow({ text: "late" });
    await reply.deliver({ text: "late answer" }, "final");
    expect(fake.calls.map(({ what }) => what)).toEqual(["POST /v1/messages"]);
  });
});

describe("files", () => {
  test("are uploaded under their own names, the words go with the first", async () => {
    const payload = {
      text: "look",
      mediaUrls: ["/media/chart---1.png", "/media/other.png"],
      attachments: [{ url: "/media/chart---1.png", name: "chart.png" }],
    };
    await begin().deliver(payload, "block");
    expect(contents()).toEqual([
      { type: "image", media: { id: expect.any(String) }, fileName: "chart.png", caption: "look" },
      { type: "image", media: { id: expect.any(String) }, fileName: "loaded.png" },
    ]);
    const form = String(fake.of("POST /v1/media")[0]?.body);
    expect(form.indexOf('name="account"')).toBeLessThan(form.indexOf('name="file"; filename="chart.png"'));
    expect(form).toContain("/media/chart---1.png");
  });

  test("on the web are left to the bridge, by what their address looks like", async () => {
    const urls = [
      "https://a.example/x.png?y=1",
      "http://a.example/x.mp3",
      "https://a.example/x.pdf",
      "https://a.example/x",
    ];
    await begin().deliver({ mediaUrls: urls }, "final");
    expect(contents()).toEqual(
      ["image", "audio", "file", "image"].map((type, index) => ({ type, media: { url: urls[index] } })),
    );
    expect(fake.of("POST /v1/media")).toEqual([]);
  });

  test("of a text that grew follow it without the words", async () => {
    const reply = begin();
    reply.grow({ text: "lo" });
    await reply.deliver({ text: "look", mediaUrl: "/media/a.png" }, "block");
    expect(finishes()).toMatchObject([{ text: "look" }]);
    expect(contents()).toEqual([{ type: "image", media: { id: expect.any(String) }, fileName: "loaded.png" }]);
  });

  test("that cannot be read are named, without their path, and take nothing with them", async () => {
    await begin().deliver({ text: "look", mediaUrls: ["/home/me/forbidden.pdf", "/media/a.png"] }, "final");
    expect(contents()).toMatchObject([{ type: "image", caption: "look\n[file: forbidden.pdf, cannot be sent]" }]);
  });

  test("that the bridge refuses leave their words", async () => {
    fake.script.set("POST /v1/messages", [problem(422, "media_url_refused")]);
    await begin().deliver({ text: "look", mediaUrl: "http://10.0.0.1/x.png" }, "final");
    expect(contents().at(-1)).toEqual({ type: "text", text: "look\n[file, cannot be sent]" });
    expect(new Set(sent().map(([key]) => key)).size).toBe(2);
  });
});

describe("what tools do", () => {
  test("stands below the words until there are new ones", async () => {
    const reply = begin();
    reply.grow({ text: "Let me see." });
    await expect.poll(() => fake.of("PUT /v1/streams/")).toHaveLength(1);
    reply.progress("🛠️ read");
    await expect.poll(puts).toContainEqual({ seq: 1, text: "Let me see.", status: "🛠️ read" });
    reply.beginMessage();
    reply.grow({ text: "It says" });
    await expect.poll(puts).toContainEqual({ seq: 2, text: "It says" });
    await reply.deliver({ text: "It says so." }, "final");
    expect(finishes()).toMatchObject([{ text: "It says so.", outcome: "done" }]);
  });

  test("hides no words that were not shown yet", async () => {
    const { promise: opened, resolve } = Promise.withResolvers<void>();
    fake.script.set("POST /v1/streams", [{ status: 201, body: { id: "st_1", mode: "card" }, after: opened }]);
    const reply = begin();
    reply.grow({ text: "Let me see." });
    reply.progress("🛠️ read");
    resolve();
    await expect.poll(puts).toEqual([{ seq: 0, text: "Let me see.", status: "🛠️ read" }]);
    await reply.end("aborted");
  });

  test("is shown by itself after a while, not when the answer is there before, nor in a group", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const [slow, quick] = [begin(), begin({ to: "user:staff001", inReplyTo: "main:quick" })];
      const group = begin({ to: "conversation:cid1", inReplyTo: "main:group" });
      expect([slow, quick, group].map((reply) => reply.progress("🛠️ read"))).toEqual([false, false, false]);
      await quick.deliver({ text: "one" }, "final");
      vi.advanceTimersByTime(10_000);
      const opened = (): unknown[] => fake.of("POST /v1/streams").map(({ body }) => body);
      await expect.poll(opened).toMatchObject([{ inReplyTo: "main:m1" }]);
      for (const reply of [slow, quick, group]) await reply.end("aborted");
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("who is @-ed", () => {
  const mentions = (): unknown[] => fake.calls.map(({ body }) => (body as { mentions?: unknown }).mentions);

  test("the one person that asked, where that is set", async () => {
    await begin({ to: "conversation:cid1", inReplyTo: "main:m1" }, "staff001").deliver({ text: "one" }, "final");
    expect(mentions()).toEqual([{ userIds: ["staff001"] }]);
  });

  test("nobody when it answers several, and nobody by default", async () => {
    const shared = begin({ to: "conversation:cid1", inReplyTo: "main:m1" }, "staff001");
    shared.share();
    await shared.deliver({ text: "one" }, "final");
    await begin().deliver({ text: "two" }, "final");
    expect(mentions()).toEqual([undefined, undefined]);
  });
});

test("who was not answered when a turn broke is told so, once", async () => {
  const [silent, answered] = [begin(), begin()];
  await answered.deliver({ text: "one" }, "final");
  await answered.apologise();
  await silent.apologise();
  expect(contents()).toEqual([text("one"), text(expect.stringContaining("went wrong") as string)]);
});
