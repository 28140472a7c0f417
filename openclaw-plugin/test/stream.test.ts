import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ReplyStream } from "../src/stream.ts";
import { FakeBridge, problem } from "./support/fake-bridge.ts";

const TARGET = { to: "user:staff001", inReplyTo: "main:m1" };
const QUICK = { gapMs: 20, keepAliveMs: 60_000, againMs: 10 };

let fake: FakeBridge;
beforeEach(async () => {
  fake = new FakeBridge();
  await fake.start();
});
afterEach(async () => await fake.stop());

const begin = (timings = QUICK): ReplyStream => new ReplyStream({ bridge: fake.bridge(), target: TARGET, timings });
const says = (text: string) => () => text;
const shown = (): unknown[] => fake.of("PUT /v1/streams/").map(({ body }) => body);
const finishes = (): unknown[] => fake.calls.filter(({ what }) => what.endsWith("/finish")).map(({ body }) => body);

describe("a reply that grows", () => {
  test("is opened by its first text and asks for a short silence", async () => {
    const stream = begin();
    expect(fake.calls).toEqual([]);
    expect(stream.update(says("a"))).toBe(false);

    await expect.poll(shown).toEqual([{ seq: 0, text: "a" }]);
    expect(fake.of("POST /v1/streams")).toMatchObject([
      { body: { account: "main", ...TARGET, idleTimeoutMs: 60_000 } },
    ]);
    expect(stream.update(says("ab"))).toBe(true);
    await stream.finish("ab", "done");
  });

  test("brings the newest text and leaves out what came between", async () => {
    const { promise: opened, resolve } = Promise.withResolvers<void>();
    fake.script.set("POST /v1/streams", [{ status: 201, body: { id: "st_1", mode: "card" }, after: opened }]);
    const stream = begin();
    for (const text of ["a", "ab", "abc"]) stream.update(says(text));
    resolve();

    await expect.poll(shown).toEqual([{ seq: 0, text: "abc" }]);
    stream.update(says("abcd"));
    await expect.poll(shown).toEqual([
      { seq: 0, text: "abc" },
      { seq: 1, text: "abcd" },
    ]);
    await stream.finish("abcd", "done");
  });

  test("nobody sees it grow while the bridge keeps it for the end", async () => {
    fake.mode = "buffered";
    const stream = begin();
    stream.update(says("a"));
    await expect.poll(shown).toHaveLength(1);
    expect(stream.update(says("ab"))).toBe(false);
    await stream.finish("ab", "done");
  });

  test("gives signs of life while nothing is new", async () => {
    const stream = begin({ ...QUICK, keepAliveMs: 20 });
    stream.update(says("a"));
    await expect.poll(() => shown().length).toBeGreaterThan(2);
    expect(shown().slice(0, 2)).toEqual([
      { seq: 0, text: "a" },
      { seq: 1, text: "a" },
    ]);
    await stream.finish("a", "done");
  });

  test("tries again soon when the bridge was not there", async () => {
    fake.script.set("PUT /v1/streams/", [{ status: 503, body: {} }]);
    const stream = begin();
    stream.update(says("a"));
    await expect.poll(shown).toHaveLength(2);
    await stream.finish("a", "done");
  });

  test("says no more when the bridge has closed it, and still brings its end", async () => {
    fake.script.set("PUT /v1/streams/", [problem(409, "stream_closed")]);
    const stream = begin();
    stream.update(says("a"));
    await expect.poll(shown).toHaveLength(1);
    await vi.waitFor(() => expect(stream.update(says("ab"))).toBe(false));
    await expect(stream.finish("ab", "done")).resolves.toMatch(/^out_/);
    expect(shown()).toHaveLength(1);
    expect(finishes()).toEqual([{ text: "ab", outcome: "done", account: "main", ...TARGET }]);
  });
});

describe("its end", () => {
  test("comes with what makes a message of it, and is repeated until it is taken", async () => {
    const stream = begin();
    stream.update(says("a"));
    await expect.poll(shown).toHaveLength(1);
    const again = [{ status: 503, body: {} }];
    fake.script.set("POST /v1/streams/st_1/finish", again);

    await expect(stream.finish("all", "failed")).resolves.toMatch(/^out_/);
    const end = { text: "all", outcome: "failed", account: "main", ...TARGET };
    expect(finishes()).toEqual([end, end]);
  });

  test("waits for the beginning, and nothing is shown in between", async () => {
    const stream = begin();
    stream.update(says("a"));
    await stream.finish("all", "done");
    expect(fake.calls.map(({ what }) => what)).toEqual(["POST /v1/streams", "POST /v1/streams/st_1/finish"]);
  });

  test.for([
    ["it has no streams", problem(404, "not_found")],
    ["it refuses", problem(409, "anything")],
    ["it cannot take it now", { status: 503, body: {} }],
    ["it is something else", { status: 200, body: Buffer.from("<html>"), type: "text/html" }],
  ] as const)("is a message's when the bridge opens none: %s", async ([, answer]) => {
    fake.script.set("POST /v1/streams", [answer]);
    const stream = begin();
    stream.update(says("a"));
    await expect(stream.finish("all", "done")).resolves.toBeUndefined();
    expect(fake.calls).toHaveLength(1);
    expect(fake.lines).toEqual([expect.stringContaining("comes as a whole")]);
  });

  test("is a message's when the bridge refuses it", async () => {
    fake.script.set("POST /v1/streams/st_1/finish", [problem(400, "invalid_request")]);
    const stream = begin();
    stream.update(says("a"));
    await expect(stream.finish("all", "done")).resolves.toBeUndefined();
  });

  test("of what never began is a message's", async () => {
    await expect(begin().finish("all", "done")).resolves.toBeUndefined();
    expect(fake.calls).toEqual([]);
  });
});
