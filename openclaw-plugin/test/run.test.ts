import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Activity } from "../src/activity.ts";
import { Reply } from "../src/reply.ts";
import { type Asker, Run } from "../src/run.ts";
import { FakeBridge } from "./support/fake-bridge.ts";

let fake: FakeBridge;
beforeEach(async () => {
  fake = new FakeBridge();
  await fake.start();
});
afterEach(async () => await fake.stop());

const asker = (inReplyTo: string, to = "conversation:cid1"): Asker => {
  const bridge = fake.bridge();
  const reply = new Reply({
    bridge,
    target: { to, inReplyTo },
    runId: () => "run",
    isStreaming: () => true,
    mention: `of ${inReplyTo}`,
    load: () => Promise.reject(new Error("no files here")),
  });
  return { reply, activity: new Activity(bridge, inReplyTo) };
};
/** What went out, as the answer to which message, and who was @-ed. */
const answers = (): unknown[] =>
  fake.of("POST /v1/messages").map(({ body }) => {
    const { inReplyTo, to, content, mentions } = body as Record<string, { text: string; userIds: string[] }>;
    return [inReplyTo, to, content!.text, mentions?.userIds];
  });

describe("words that go into a run", () => {
  test("after an answer have the next one", async () => {
    const run = new Run(asker("m1"));
    run.messageBegins();
    run.join(asker("m2"));
    run.messageBegins();
    await run.deliver({ text: "one" }, { kind: "final", message: 1 });
    await run.deliver({ text: "two" }, { kind: "final", message: 2 });
    expect(answers()).toEqual([
      ["m1", "conversation:cid1", "one", ["of m1"]],
      ["m2", "conversation:cid1", "two", ["of m2"]],
    ]);
    await run.end("aborted");
  });

  test("several at a time share the next one, which @-s nobody", async () => {
    const run = new Run(asker("m1"));
    run.messageBegins();
    run.join(asker("m2"));
    run.join(asker("m3"));
    run.messageBegins();
    await run.deliver({ text: "both" }, { kind: "final", message: 2 });
    expect(answers()).toEqual([["m2", "conversation:cid1", "both", undefined]]);
    await run.end("aborted");
  });

  test("while a tool runs share the answer that is being worked on, also elsewhere", async () => {
    const run = new Run(asker("m1"));
    run.messageBegins();
    run.toolBegins(undefined);
    run.join(asker("m2"));
    run.join(asker("m3", "user:staff003"));
    run.messageBegins();
    await run.deliver({ text: "all" }, { kind: "final", message: 2 });
    expect(answers()).toEqual([
      ["m1", "conversation:cid1", "all", undefined],
      ["m3", "user:staff003", "all", ["of m3"]],
    ]);
    await run.end("aborted");
  });
});

test("who did not go into the run after all has no answer from it", async () => {
  const [run, other] = [new Run(asker("m1")), asker("m2")];
  run.messageBegins();
  run.join(other);
  run.leave(other);
  run.messageBegins();
  await run.deliver({ text: "two" }, { kind: "final", message: 2 });
  expect(answers()).toEqual([["m1", "conversation:cid1", "two", ["of m1"]]]);
  await run.end("aborted");
  // It has a run of its own then.
  other.activity.idle();
});

test("the end closes what grew for everybody, and nobody is worked for any more", async () => {
  const run = new Run(asker("m1"));
  run.messageBegins();
  run.reply.grow({ text: "half" });
  await expect.poll(() => fake.of("PUT /v1/streams/")).toHaveLength(1);
  run.join(asker("m2"));
  await run.end("aborted");
  expect(fake.calls.filter(({ what }) => what.endsWith("/finish"))).toHaveLength(1);
  await expect
    .poll(() => fake.of("PUT /v1/activity").map(({ body }) => body))
    .toEqual(
      expect.arrayContaining([
        { inReplyTo: "m1", state: "idle" },
        { inReplyTo: "m2", state: "idle" },
      ]),
    );
});
