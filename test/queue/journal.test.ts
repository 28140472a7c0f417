import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { expect, it, onTestFinished } from "vitest";
import { prepareMediaStatements } from "../../src/queue/media-statements.ts";
import { MIGRATIONS, SCHEMA_VERSION, migrate } from "../../src/queue/schema.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { prepareStatements } from "../../src/queue/statements.ts";
import type { NewEntry } from "../../src/queue/store.ts";
import { crashImage, entry, metrics, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";

const sent = (key: string, at = 1) => ({ route: "open-api", processQueryKey: key, at }) as const;
const message = (name: string, fields: Partial<NewEntry> = {}): NewEntry =>
  entry(name, { queue: "outbox", parts: [{ type: "text", text: `${name} 0` }, { text: `${name} 1` }], ...fields });

/** A message of two parts, both sent by the Open API. */
async function deliver(
  store: SqliteStore,
  name: string,
  keys: string[],
  fields: Partial<NewEntry> = {},
): Promise<number> {
  const { seq } = await store.append(message(name, fields));
  for (const [n, key] of keys.entries()) await store.deliverPart(seq, n, sent(key, n + 5));
  await store.settle(seq, { state: "delivered", at: 9 });
  return seq;
}

it("finds a part by the key that DingTalk gave it, in its account, as long as its entry is kept", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  await deliver(store, "a", ["key1", "key2"]);
  await deliver(store, "b", ["key1"], { account: "other" });
  const open = await store.append(message("c"));
  await store.deliverPart(open.seq, 0, sent("key3"));
  await store.deliverPart(open.seq, 1, { route: "webhook", at: 1 });
  const after = openStore(crashImage(directory));
  expect(after.sentMessage("main", "key1")).toEqual({ body: { type: "text", text: "a 0" }, at: 5, entryId: "main:a" });
  expect(after.sentMessage("main", "key2")).toEqual({ body: { text: "a 1" }, at: 6, entryId: "main:a" });
  expect(after.sentMessage("other", "key1")).toMatchObject({ entryId: "main:b" });
  expect(after.sentMessage("main", "key3")).toMatchObject({ entryId: "main:c" });
  for (const [account, key] of [
    ["other", "key2"],
    ["main", "KEY1"],
    ["main", ""],
  ] as const) {
    expect(after.sentMessage(account, key)).toBeUndefined();
  }
  await after.purge({ settledBefore: 10, deadBefore: 0, conversationsBefore: 0, now: 0 });
  expect([after.sentMessage("main", "key1"), after.sentMessage("main", "key3")]).toMatchObject([
    undefined,
    { entryId: "main:c" },
  ]);
});

it("takes back what was delivered, once, and nothing else", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  const seq = await deliver(store, "a", ["key1", "key2"]);
  await store.append(message("open"));
  await store.append(message("dead", { dead: { code: "no_route", detail: "" } }));
  await store.append(entry("a"));
  const [first, again] = await Promise.all([1, 2].map((at) => store.recalled("outbox", "main:a", 20 + at)));
  expect([first, again]).toEqual([true, false]);
  for (const name of ["open", "dead", "unknown"]) {
    expect(await store.recalled("outbox", `main:${name}`, 30)).toBe(false);
  }
  const after = openStore(crashImage(directory));
  expect(after.find("outbox", "main:a")).toMatchObject({
    state: "cancelled",
    settledAt: 21,
    error: { code: "recalled" },
  });
  expect(after.parts(seq).map(({ receipt }) => receipt?.processQueryKey)).toEqual(["key1", "key2"]);
  expect(after.sentMessage("main", "key1")).toBeDefined();
  expect([after.counts("outbox"), after.find("inbox", "main:a")?.state]).toMatchObject([{ open: 1, dead: 1 }, "open"]);
  expect(await after.append(message("a"))).toMatchObject({ duplicate: true });
});

it("finds what the release before it sent", () => {
  const directory = temporaryDirectory();
  const old = new DatabaseSync(join(directory, "bridge.db"));
  migrate(old, () => {}, MIGRATIONS.slice(0, 5));
  const receipts = ["key1", undefined, "key2"].map((key) =>
    JSON.stringify({ route: "webhook", processQueryKey: key, at: 3 }),
  );
  for (const [index, receipt] of [...receipts, null].entries()) {
    old
      .prepare(
        `INSERT INTO entries (queue, id, key, account, lane, kind, body, created_at, state)
         VALUES ('outbox', ?, ?, 'main', 'main' || char(10) || 'cidA', 'message', '{}', 1, ?)`,
      )
      .run(`old${index}`, `key:${index}`, receipt === null ? "open" : "delivered");
    old.prepare("INSERT INTO parts VALUES (?, 0, ?, ?)").run(index + 1, `{"text":"${index}"}`, receipt);
  }
  old.close();
  const store = openStore(directory);
  expect(existsSync(join(directory, "bridge.schema-5.backup.db"))).toBe(true);
  expect(store.sentMessage("main", "key2")).toEqual({ body: { text: "2" }, at: 3, entryId: "old2" });
  expect(store.counts("outbox")).toMatchObject({ open: 1 });
  expect(store.media.fetchesOf(4)).toEqual([]);
  expect(SCHEMA_VERSION).toBeGreaterThan(5);
});

it("has an index for every look-up of a quote, of fetches and of files", async () => {
  const { store, db } = openWithHandle();
  await deliver(store, "a", ["key1"]);
  const plan = (statement: StatementSync): string =>
    db
      .prepare(`EXPLAIN QUERY PLAN ${statement.sourceSQL}`)
      .all()
      .map(({ detail }) => String(detail))
      .join("\n");
  const [sql, media] = [prepareStatements(db), prepareMediaStatements(db)];
  expect(plan(sql.sentMessage)).toMatch(
    /^SEARCH parts USING INDEX parts_sent \(<expr>=\?\)\nSEARCH entries USING INTEGER PRIMARY KEY/,
  );
  expect(plan(media.unfinished)).toMatch(/^SCAN f USING (COVERING )?INDEX media_fetches_unfinished\nSEARCH entries/);
  expect(plan(media.fetchesOf)).not.toMatch(/SCAN|TEMP/);
  expect(plan(media.totals)).toContain("COVERING INDEX media_age");
  for (const statement of [media.oldest, media.remove]) {
    expect(plan(statement)).toMatch(
      /SEARCH f USING .*INDEX media_fetches_media[^]*SEARCH u USING .*INDEX media_uses_media/,
    );
    expect(plan(statement)).not.toMatch(/SCAN|TEMP/);
  }
});

it("runs one statement for a message without files, and one more for each file", async () => {
  const ran: string[] = [];
  class Observed extends DatabaseSync {
    override prepare(sql: string): StatementSync {
      return new Proxy(super.prepare(sql), {
        get: (target, property) => {
          const value: unknown = Reflect.get(target, property);
          if (typeof value !== "function") return value;
          return (...values: unknown[]): unknown => {
            ran.push(sql.trim().split(/\s+/).slice(0, 3).join(" "));
            return Reflect.apply(value, target, values);
          };
        },
      });
    }
  }
  const openFile = (name: string): DatabaseSync => new Observed(name);
  const store = new SqliteStore({ directory: temporaryDirectory(), metrics, openFile });
  onTestFinished(() => store.close());
  ran.length = 0;
  await store.append(entry("a"));
  expect(ran.splice(0)).toEqual(["INSERT INTO entries"]);
  await store.append(entry("b", { fetches: [{ path: [], type: "image", downloadCode: "x" }], media: ["m_1"] }));
  expect(ran).toEqual(["INSERT INTO entries", "INSERT INTO media_fetches", "INSERT INTO media_uses"]);
});
