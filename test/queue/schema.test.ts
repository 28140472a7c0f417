import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it, onTestFinished } from "vitest";
import { createMetrics } from "../../src/ops/metrics.ts";
import { SCHEMA_VERSION, backUp, migrate } from "../../src/queue/schema.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { entry, openStore, temporaryDirectory } from "./helpers.ts";

const STEPS = ["CREATE TABLE one (a INTEGER)", "ALTER TABLE one ADD COLUMN b INTEGER; INSERT INTO one VALUES (1, 2)"];

function memory(): { db: DatabaseSync; version: () => unknown; rows: () => unknown[] } {
  const db = new DatabaseSync(":memory:");
  onTestFinished(() => db.close());
  return {
    db,
    version: () => db.prepare("PRAGMA user_version").get()?.["user_version"],
    rows: () => db.prepare("SELECT * FROM one").all(),
  };
}

it("a new database gets every step and no backup", () => {
  const { db, version, rows } = memory();
  const backups: number[] = [];
  migrate(db, (from) => backups.push(from), STEPS);
  expect([version(), rows(), backups]).toEqual([2, [{ a: 1, b: 2 }], []]);
});

it("a current database is left alone", () => {
  const { db, version, rows } = memory();
  const backups: number[] = [];
  migrate(db, () => {}, STEPS);
  migrate(db, (from) => backups.push(from), STEPS);
  expect([version(), rows(), backups]).toEqual([2, [{ a: 1, b: 2 }], []]);
});

it("an older database is backed up before the first change, then gets the missing steps", () => {
  const { db, version, rows } = memory();
  migrate(db, () => {}, STEPS.slice(0, 1));
  const seen: unknown[] = [];
  migrate(db, (from) => seen.push(from, version(), rows()), STEPS);
  expect(seen).toEqual([1, 1, []]);
  expect([version(), rows()]).toEqual([2, [{ a: 1, b: 2 }]]);
});

it("a database of a later release is refused untouched", () => {
  const { db, version } = memory();
  migrate(db, () => {}, STEPS);
  const newer = expect.objectContaining({ code: "schema_newer", mend: expect.stringContaining("BRIDGE_DATA_DIR") });
  expect(() => migrate(db, () => {}, STEPS.slice(0, 1))).toThrow(newer);
  expect(version()).toBe(2);
});

it("a step that fails leaves nothing of itself, and the ones before it", () => {
  const { db, version } = memory();
  const broken = [STEPS[0] ?? "", "CREATE TABLE two (a INTEGER); CREATE TABLE one (a INTEGER)"];
  expect(() => migrate(db, () => {}, broken)).toThrow("already exists");
  expect(version()).toBe(1);
  expect(db.prepare("SELECT name FROM sqlite_master").all()).toEqual([{ name: "one" }]);
  expect(db.isTransaction).toBe(false);
});

it("a failed backup changes nothing", () => {
  const { db, version } = memory();
  migrate(db, () => {}, STEPS.slice(0, 1));
  const fail = (): never => {
    throw new Error("no space");
  };
  expect(() => migrate(db, fail, STEPS)).toThrow("no space");
  expect(version()).toBe(1);
});

/** A data directory as a release wrote it whose schema number was `version`. */
async function dataOf(version: number): Promise<string> {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  await store.append(entry("a"));
  await store.close();
  const db = new DatabaseSync(join(directory, "bridge.db"));
  db.exec(`PRAGMA user_version = ${version}`);
  db.close();
  return directory;
}

it("the store refuses data of a later release and can be opened by that one", async () => {
  const directory = await dataOf(SCHEMA_VERSION + 1);
  const open = (): SqliteStore => new SqliteStore({ directory, metrics: createMetrics() });
  expect(open).toThrow(expect.objectContaining({ code: "schema_newer" }));
  const db = new DatabaseSync(join(directory, "bridge.db"));
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  db.close();
  expect(openStore(directory).find("inbox", "main:a")?.state).toBe("open");
});

it("a backup is whole and private, and takes the place of one from a start that failed", async () => {
  const directory = await dataOf(SCHEMA_VERSION);
  const file = join(directory, "bridge.schema-1.backup.db");
  writeFileSync(`${file}.partial`, "cut off");
  const db = new DatabaseSync(join(directory, "bridge.db"));
  onTestFinished(() => db.close());
  backUp(db, file);
  db.exec("DELETE FROM entries");
  expect(() => backUp(db, join(directory, "missing", "file"))).toThrow("unable to open");
  const copy = new DatabaseSync(file);
  expect(copy.prepare("SELECT id FROM entries").all()).toEqual([{ id: "main:a" }]);
  copy.close();
  expect(statSync(file).mode & 0o777).toBe(0o600);
  backUp(db, file);
  const again = new DatabaseSync(file);
  expect(again.prepare("SELECT id FROM entries").all()).toEqual([]);
  again.close();
  expect(existsSync(`${file}.partial`)).toBe(false);
});
