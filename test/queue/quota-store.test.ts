import { readdirSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createMetrics } from "../../src/ops/metrics.ts";
import { type Usage, readQuotaFile } from "../../src/queue/quota-store.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { crashImage, entry, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";

const usage = (fields: Partial<Usage> = {}): Usage => ({
  robot: "robot1",
  month: "2026-11",
  class: "inbound",
  at: 1_000,
  ...fields,
});
const used = (store: SqliteStore, month = "2026-11"): unknown =>
  store.quota.read(month).usage.map(({ robot, class: name, n }) => [robot, name, n]);

it("counts an entry in the commit that stores it, once however often it is pushed, and keeps it over a crash", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  await Promise.all([
    store.append(entry("a", { usage: usage() })),
    store.append(entry("b", { usage: usage({ at: 2_000 }) })),
    store.append(entry("a", { usage: usage() })),
    store.append(entry("c")),
  ]);
  await store.append(entry("a", { usage: usage() }));
  const after = openStore(crashImage(directory));
  expect(used(after)).toEqual([["robot1", "inbound", 2]]);
  expect(used(after, "2026-12")).toEqual([]);
  expect(after.quota.read("2026-12").firstAt).toEqual([{ robot: "robot1", at: 1_000 }]);
});

it("shares the commit of what is settled in the same turn", async () => {
  const metrics = createMetrics();
  const store = new SqliteStore({ directory: temporaryDirectory(), metrics });
  const { seq } = await store.append(entry("a", { queue: "outbox", parts: ["x"] }));
  const commits = async (): Promise<number> => {
    const { values } = await metrics.commitSeconds.get();
    return values.find(({ metricName }) => metricName?.endsWith("_count"))?.value ?? 0;
  };
  const before = await commits();
  await Promise.all([
    store.quota.add([usage({ class: "webhook" })]),
    store.deliverPart(seq, 0, { route: "webhook", at: 1 }),
  ]);
  expect(await commits()).toBe(before + 1);
  await store.close();
});

it("counts nothing when the commit fails", async () => {
  const { store, db } = openWithHandle();
  db.exec("PRAGMA max_page_count = 1");
  const fail = store.append(entry("big", { body: "x".repeat(1_000_000), usage: usage() }));
  await expect(fail).rejects.toMatchObject({ code: "store_unavailable" });
  expect(used(store)).toEqual([]);
});

it("keeps robots, refusals and their end", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  await store.quota.learn("robot1", "corpA");
  await store.quota.learn("robot1", "corpB");
  const closure = { robot: "robot1", budget: "calls", since: 5, refusedAt: 5, detail: "no" } as const;
  await store.quota.close(closure);
  await store.quota.close({ ...closure, refusedAt: 9 });
  await store.quota.close({ ...closure, budget: "units" });
  await store.quota.reopen(["robot1", "robot2"], "units");
  expect(readQuotaFile(directory, "2026-11")).toMatchObject({
    organisations: [{ robot: "robot1", organisation: "corpB" }],
    closures: [{ ...closure, refusedAt: 9 }],
  });
});

it("reads a file that was closed in order, without leaving anything beside it", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  await store.quota.add([usage(), usage()]);
  await store.close();
  expect(readQuotaFile(directory, "2026-11")?.usage).toEqual([{ robot: "robot1", class: "inbound", n: 2 }]);
  expect(readdirSync(directory)).toEqual(["bridge.db"]);
});

it("finds nothing without a database, or in one that does not count", () => {
  const directory = temporaryDirectory();
  expect(readQuotaFile(directory, "2026-11")).toBeUndefined();
  const db = new DatabaseSync(join(directory, "bridge.db"));
  db.exec("CREATE TABLE entries (a)");
  db.close();
  expect(readQuotaFile(directory, "2026-11")).toBeUndefined();
});
