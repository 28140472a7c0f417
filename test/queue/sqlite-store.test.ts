import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it, onTestFinished } from "vitest";
import { createMetrics } from "../../src/ops/metrics.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { crashImage, entry, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";
import { storeSuite } from "./store.suite.ts";

storeSuite("SQLite", () => {
  const directory = temporaryDirectory();
  return { store: openStore(directory), crash: () => openStore(crashImage(directory)) };
});

it("counts the attempts that the last process left under way", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  expect(store.interrupted).toBe(0);
  for (const name of ["a", "b", "c"]) {
    const { seq } = await store.append(entry(name));
    if (name !== "c") await store.begin(seq);
  }
  const again = openStore(crashImage(directory));
  expect(again.interrupted).toBe(2);
  expect(openStore(crashImage(directory)).find("inbox", "main:a")?.crashes).toBe(1);
});

it("puts the writes of one turn into one commit", async () => {
  const metrics = createMetrics();
  const store = new SqliteStore({ directory: temporaryDirectory(), metrics });
  onTestFinished(() => store.close());
  await Promise.all(["a", "b", "c"].map((name) => store.append(entry(name))));
  await store.append(entry("d"));
  const count = async (name: string): Promise<number> => {
    const metric = await metrics.registry.getSingleMetric(name)?.get();
    const found = metric?.values.find((value) => !("metricName" in value) || value.metricName === `${name}_count`);
    return found?.value ?? 0;
  };
  expect(await count("dingtalk_bridge_store_commit_operations_total")).toBe(4);
  expect(await count("dingtalk_bridge_store_commit_seconds")).toBe(2);
});

it("a full disk: refuses what does not fit, keeps what it has, and goes on when there is room", async () => {
  const directory = temporaryDirectory();
  const { store, db } = openWithHandle(directory);
  const small = await store.append(entry("small"));
  const pages = Number(db.prepare("PRAGMA page_count").get()?.["page_count"]);
  db.exec(`PRAGMA max_page_count = ${pages + 2}`);
  const big = (name: string) => store.append(entry(name, { body: "x".repeat(100_000) }));
  const results = await Promise.allSettled([big("1"), store.begin(small.seq), big("2")]);
  expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected"]);
  expect(results[0]).toMatchObject({ reason: { code: "store_unavailable", retryable: true } });
  await expect(big("3")).rejects.toMatchObject({ code: "store_unavailable" });
  expect(store.find("inbox", "main:small")?.begun).toBe(true);
  db.exec("PRAGMA max_page_count = 1000000");
  expect(await big("1")).toMatchObject({ duplicate: false });
  const after = openStore(crashImage(directory));
  expect(after.heads("inbox")).toHaveLength(1);
  expect(after.counts("inbox").open).toBe(2);
});

it("a file that nobody may write: all writes of the turn are refused at once, then it goes on", async () => {
  const directory = temporaryDirectory();
  const { store } = openWithHandle(directory);
  const other = new DatabaseSync(join(directory, "bridge.db"));
  other.exec("BEGIN IMMEDIATE");
  const results = await Promise.allSettled(["a", "b"].map((name) => store.append(entry(name))));
  expect(results).toMatchObject([{ reason: { code: "store_unavailable" } }, { reason: { code: "store_unavailable" } }]);
  other.close();
  await Promise.all(["a", "b"].map((name) => store.append(entry(name))));
  expect(store.counts("inbox").open).toBe(2);
});

it("keeps its files to its user", () => {
  const directory = join(temporaryDirectory(), "data");
  openStore(directory);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(join(directory, "bridge.db")).mode & 0o777).toBe(0o600);
});

it("says that a data directory is not usable", () => {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "file"), "");
  const metrics = createMetrics();
  const unusable = expect.objectContaining({
    code: "data_dir_unusable",
    mend: expect.stringContaining("BRIDGE_DATA_DIR"),
  });
  expect(() => new SqliteStore({ directory: join(directory, "file", "data"), metrics })).toThrow(unusable);
  writeFileSync(join(directory, "bridge.db"), "this is no database, whatever its name says".repeat(100));
  expect(() => new SqliteStore({ directory, metrics })).toThrow(unusable);
});
