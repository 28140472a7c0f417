import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { LifeReader } from "../../src/queue/life.ts";
import { MIGRATIONS, migrate } from "../../src/queue/schema.ts";
import { crashImage, entry, openStore, temporaryDirectory } from "./helpers.ts";

const away = { code: "gateway_unavailable", detail: "the gateway answered 503" } as const;

it("keeps each attempt: of many the first ten and the last ten", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  const { seq } = await store.append(entry("a"));
  for (let n = 0; n < 25; n += 1) {
    await store.begin(seq);
    const error = { ...away, detail: `try ${n}` };
    await store.settle(seq, { state: "open", dueAt: 0, counted: false, error }, "retry");
  }
  using reader = LifeReader.open(directory);
  const [life] = reader?.byId("main:a") ?? [];
  const kept = life?.history.map(({ detail }) => Number(detail?.slice(4)));
  expect(kept).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
  expect(life?.history.every(({ at, ms }) => at !== undefined && ms !== undefined && ms >= 0)).toBe(true);
});

it("an attempt that a crash cut off is one too, and what begins and is given back is none", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  const { seq } = await store.append(entry("a"));
  await store.begin(seq);
  await store.settle(seq, { state: "open", dueAt: 0, counted: false });
  await store.begin(seq);
  const copy = crashImage(directory);
  openStore(copy);
  using reader = LifeReader.open(copy);
  expect(reader?.byId("main:a")[0]).toMatchObject({
    history: [{ outcome: "interrupted", at: expect.any(Number), ms: undefined }],
    crashes: 1,
  });
});

it("an acknowledgement costs no commit of its own: it is written with the next one, or with the close", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  const { seq } = await store.append(entry("a"));
  const ackedAt = (id: string): number | undefined => {
    using reader = LifeReader.open(directory);
    return reader?.byId(id)[0]?.ackedAt;
  };
  store.acked(seq, 5_000);
  expect(ackedAt("main:a")).toBeUndefined();
  const next = await store.append(entry("b"));
  expect(ackedAt("main:a")).toBe(5_000);
  // DingTalk asked again: the first one is kept.
  store.acked(seq, 9_000);
  store.acked(next.seq, 6_000);
  await store.close();
  expect([ackedAt("main:a"), ackedAt("main:b")]).toEqual([5_000, 6_000]);
});

it("knows of a message of an earlier release what it answers", () => {
  const directory = temporaryDirectory();
  const old = new DatabaseSync(join(directory, "bridge.db"));
  migrate(old, () => {}, MIGRATIONS.slice(0, 7));
  const insert = old.prepare(`
    INSERT INTO entries (queue, id, key, account, lane, kind, body, created_at) VALUES (?, ?, ?, 'main', 'main' || char(10) || 'cidA', ?, ?, 1)`);
  insert.run("inbox", "main:a", "a", "message", '{"data":{},"receivedAt":1}');
  insert.run("outbox", "out_1", "1", "text", '{"to":"user:staff001","inReplyTo":"main:a"}');
  old.close();
  openStore(directory);
  using reader = LifeReader.open(directory);
  expect(reader?.repliesTo("main:a")).toMatchObject([{ id: "out_1", storedAt: undefined, history: [] }]);
  expect(reader?.last(10).map(({ id }) => id)).toEqual(["main:a"]);
});
