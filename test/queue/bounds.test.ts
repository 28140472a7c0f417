import { expect, it, onTestFinished } from "vitest";
import { createMetrics } from "../../src/ops/metrics.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import type { NewEntry } from "../../src/queue/store.ts";
import { conversationLane, userLane } from "../../src/queue/store.ts";
import { conversation, crashImage, entry, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";

const A = conversationLane("main", "cidA");
const B = conversationLane("main", "cidB");
const full = expect.objectContaining({ code: "queue_full", retryable: true, mend: expect.any(String) });
const failed = { code: "internal", detail: "" } as const;

const reply = (name: string, fields: Partial<NewEntry> = {}): NewEntry =>
  entry(name, { queue: "outbox", atMost: { lane: 3, queue: 5 }, ...fields });

it("refuses more than a lane may hold until one of them is settled, and no other lane", async () => {
  const store = openStore();
  const [first] = await Promise.all(["1", "2", "3"].map((name) => store.append(reply(name))));
  await expect(store.append(reply("4"))).rejects.toEqual(full);
  expect(await store.append(reply("5", { lane: B }))).toMatchObject({ duplicate: false });
  await store.settle(first?.seq ?? 0, { state: "open", dueAt: 9, counted: true });
  await expect(store.append(reply("4"))).rejects.toEqual(full);
  await store.settle(first?.seq ?? 0, { state: "delivered", at: 9 });
  expect(await store.append(reply("4"))).toMatchObject({ duplicate: false });
  expect(store.find("outbox", "main:4")?.state).toBe("open");
});

it("knows a repeated key although there is no room", async () => {
  const store = openStore();
  for (const name of ["1", "2", "3"]) await store.append(reply(name, { digest: "d" }));
  const again = await store.append(reply("again", { key: "key:2" }));
  expect(again).toMatchObject({ id: "main:2", duplicate: true, digest: "d" });
  expect(store.counts("outbox").open).toBe(3);
});

it("bounds all lanes together, and leaves the other queue alone", async () => {
  const store = openStore();
  for (let n = 0; n < 5; n += 1) await store.append(reply(`${n}`, { lane: conversationLane("main", `cid${n}`) }));
  await expect(store.append(reply("one more", { lane: B }))).rejects.toEqual(full);
  expect(await store.append(entry("in", { atMost: { lane: 3, queue: 5 } }))).toMatchObject({ duplicate: false });
  expect(await store.append(entry("without a bound", { queue: "outbox", lane: B }))).toMatchObject({
    duplicate: false,
  });
});

it("of a thousand in one turn takes as many as there is room for, in one commit", async () => {
  const metrics = createMetrics();
  const store = new SqliteStore({ directory: temporaryDirectory(), metrics });
  onTestFinished(() => store.close());
  const atMost = { lane: 100, queue: 250 };
  const results = await Promise.allSettled(
    Array.from({ length: 1_000 }, (_, n) => store.append(reply(`${n}`, { lane: `main\n${n % 4}`, atMost }))),
  );
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(250);
  expect(results.flatMap((one) => (one.status === "rejected" ? [one.reason] : []))).toEqual(Array(750).fill(full));
  expect(store.counts("outbox").open).toBe(250);
  const commits = await metrics.registry.getSingleMetric("dingtalk_bridge_store_commit_seconds")?.get();
  expect(
    commits?.values.find((value) => "metricName" in value && String(value.metricName).endsWith("_count"))?.value,
  ).toBe(1);
});

it("counts right across cancel, death, replay, discard, merge, failed commits, crash and restart", async () => {
  const directory = temporaryDirectory();
  const { store, db } = openWithHandle(directory);
  const real = (): unknown =>
    db.prepare("SELECT count(*) AS n FROM entries WHERE queue = 'outbox' AND state = 'open'").get()?.["n"];
  const check = (open: number): void => expect([store.counts("outbox").open, real()]).toEqual([open, open]);
  const lane = userLane("main", "staff001");
  const [a, b, c] = await Promise.all(["a", "b", "c"].map((name) => store.append(reply(name, { lane }))));
  check(3);
  await store.cancel("outbox", "main:a", 1);
  await store.cancel("outbox", "main:a", 1);
  check(2);
  for (const one of [a, b]) await store.settle(one?.seq ?? 0, { state: "dead", at: 2, error: failed });
  check(1);
  await store.replay("outbox", "main:b", 3);
  check(2);
  await store.settle(b?.seq ?? 0, { state: "dead", at: 4, error: failed });
  await store.discard("outbox", "main:b");
  check(1);
  await store.append(entry("m"), conversation({ staffId: "staff001" }));
  expect(store.head("outbox", A)?.seq).toBe(c?.seq);
  check(1);
  await Promise.allSettled([
    store.append(reply("d")),
    store.append(reply("clash", { id: "main:d" })),
    store.append(reply("dead", { dead: failed })),
  ]);
  check(2);
  expect(openStore(crashImage(directory)).counts("outbox").open).toBe(2);
  await store.purge({ settledBefore: 1e15, deadBefore: 1e15, conversationsBefore: 0, now: 0 });
  check(2);
  await store.close();
  expect(openStore(directory).counts("outbox").open).toBe(2);
});
