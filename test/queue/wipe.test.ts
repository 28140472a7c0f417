import { expect, it } from "vitest";
import { Retention } from "../../src/flows/retention.ts";
import { openReadOnly } from "../../src/queue/read-only.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { wordsOnDisk } from "../support/disk-search.ts";
import { entry, metrics, openStore, temporaryDirectory } from "./helpers.ts";
import { silent } from "./runner.ts";
import { closing, stream } from "./stream-helpers.ts";

const DAY = 86_400_000;
const WORDS = ["机密的问题", "SecretName", "机密的回答", "secret-file.pdf", "growing-secret"];
const keep = { messagesMs: 0, settledMs: 7 * DAY, deadMs: 30 * DAY, conversationsMs: 180 * DAY };

function retentionOf(store: SqliteStore, clock: { at: number }, messagesMs: number): Retention {
  const time = { now: () => clock.at, monotonic: () => clock.at };
  return new Retention({ store, clock: time, logger: silent, keep: { ...keep, messagesMs } });
}

/** A message with a file, its reply in two parts, and a reply that grew: all settled at `at`. */
async function talk(store: SqliteStore, name: string, at: number): Promise<{ question: number; answer: number }> {
  const body = { data: { text: { content: WORDS[0] }, senderNick: WORDS[1] }, receivedAt: at };
  const fetch = { path: ["x"], type: "file", downloadCode: "c", fileName: "secret-file.pdf" } as const;
  const question = await store.append(entry(name, { body, createdAt: at, fetches: [fetch] }));
  const parts = [1, 2].map(() => ({ type: "markdown", title: "x", text: "机密的回答".repeat(300) }));
  const reply = entry(`out-${name}`, { queue: "outbox", body: { to: "user:staff001" }, parts, createdAt: at });
  const answer = await store.append(reply);
  for (const { seq } of [question, answer]) {
    await store.begin(seq);
    await store.settle(seq, { state: "delivered", at }, "delivered");
  }
  const id = `st_${name}`;
  await store.streams.add(stream(1, { id, outTrackId: `br_${name}`, text: "growing-secret", createdAt: at }));
  await store.streams.close(id, closing({ text: "growing-secret", at }), []);
  return { question: question.seq, answer: answer.seq };
}

it("what was said leaves the file when its time has come; ids, keys, receipts and dead letters stay", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  const clock = { at: DAY - 1 };
  const service = retentionOf(store, clock, DAY);
  const { question, answer } = await talk(store, "old", 0);
  await store.deliverPart(answer, 0, { route: "open-api", processQueryKey: "q1", at: 0 });
  await service.run();
  expect(wordsOnDisk(directory, WORDS)).not.toEqual([]);

  clock.at = DAY;
  await talk(store, "new", DAY);
  await service.run();
  expect(store.find("inbox", "main:old")).toMatchObject({ body: null, state: "delivered", key: "key:old" });
  expect(store.find("outbox", "main:out-old")).toMatchObject({ body: { to: "user:staff001" } });
  expect(store.parts(answer)).toMatchObject([
    { body: { type: "markdown", wiped: true }, receipt: { processQueryKey: "q1" } },
    { body: { type: "markdown", wiped: true } },
  ]);
  expect(store.sentMessage("main", "q1")).toBeUndefined();
  expect(store.media.fetchesOf(question)).toMatchObject([{ downloadCode: "" }]);
  expect(await store.append(entry("old"))).toMatchObject({ duplicate: true });
  expect(store.find("inbox", "main:new")?.body).not.toBeNull();

  clock.at = 3 * DAY;
  await service.run();
  expect(wordsOnDisk(directory, WORDS)).toEqual([]);
});

it("a dead letter keeps all that it needs to be tried again", async () => {
  const store = openStore();
  const { seq } = await store.append(entry("a", { body: { data: "kept" } }));
  await store.settle(seq, { state: "dead", at: 1, error: { code: "rejected", detail: "" } }, "rejected");
  await retentionOf(store, { at: DAY }, 0).run();
  expect(await store.replay("inbox", "main:a", DAY)).toMatchObject({ body: { data: "kept" } });
});

it("0: it goes in the commit that settles the message, and with the stop from everywhere", async () => {
  const directory = temporaryDirectory();
  const store = new SqliteStore({ directory, metrics, wipeSettled: true });
  const service = retentionOf(store, { at: 5 }, 0);
  const talks = (from: number) => Array.from({ length: 200 }, (_, n) => talk(store, `m${from + n}`, 5));
  await Promise.all(talks(0));
  expect(store.find("inbox", "main:m7")).toMatchObject({ body: null });
  expect(store.parts(store.find("outbox", "main:out-m7")?.seq ?? 0)).toMatchObject([
    { body: { wiped: true } },
    { body: { wiped: true } },
  ]);
  await service.run();
  expect(wordsOnDisk(directory, WORDS)).toEqual([]);
  // After the hourly compaction the rows are moved about once more.
  await Promise.all(talks(200));
  await service.stop();
  expect(wordsOnDisk(directory, WORDS)).toEqual([]);
  await store.close();
});

it("also what ended without an attempt, or in a clock that was set back", async () => {
  const store = openStore();
  const clock = { at: 10 * DAY };
  const service = retentionOf(store, clock, 0);
  await service.run();
  clock.at = DAY;
  const cancelled = { code: "person_limit", detail: "" } as const;
  await store.append(entry("a", { body: { data: "x" }, cancelled, createdAt: clock.at }));
  await store.append(entry("b", { queue: "outbox", parts: [{ type: "text", text: "x" }], createdAt: clock.at }));
  await store.cancel("outbox", "main:b", clock.at);
  await service.run();
  expect(store.find("inbox", "main:a")?.body).toBeNull();
  expect(store.parts(store.find("outbox", "main:b")?.seq ?? 0)).toMatchObject([{ body: { wiped: true } }]);
});

it("does not wait long for somebody who reads the file, and empties the log afterwards", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  await talk(store, "a", 0);
  const reader = openReadOnly(directory);
  reader?.exec("BEGIN");
  reader?.prepare("SELECT count(*) FROM entries").get();
  await store.wipe(1);
  expect(store.compact()).toBe(false);
  reader?.close();
  expect(store.emptyLog()).toBe(true);
  expect(wordsOnDisk(directory, WORDS)).toEqual([]);
});

it("also the copies that are left behind when rows move to another page", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  const names = Array.from({ length: 1_500 }, (_, n) => `m${n}`);
  const body = (n: number) => ({ data: { text: { content: "机密的问题".repeat(1 + (n % 40)) } }, receivedAt: 1 });
  const stored = await Promise.all(names.map((name, n) => store.append(entry(name, { body: body(n), createdAt: 1 }))));
  // Rows grow in no order, so pages overflow and are split.
  for (const step of [7, 11, 13, 17]) {
    const settling = stored.map(async (_, n) => {
      const error = { code: "gateway_timeout", detail: "no answer ".repeat(1 + ((n * step) % 40)) } as const;
      const { seq = 0 } = stored[(n * step * 101) % stored.length] ?? {};
      await store.settle(seq, { state: "open", dueAt: 0, counted: false, error }, "retry");
    });
    await Promise.all(settling);
  }
  await Promise.all(stored.map(({ seq }) => store.settle(seq, { state: "delivered", at: 1 }, "delivered")));
  await retentionOf(store, { at: 5 }, 0).run();
  expect(wordsOnDisk(directory, WORDS)).toEqual([]);
});
