import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { createMetrics } from "../../src/ops/metrics.ts";
import { MIGRATIONS, SCHEMA_VERSION, migrate } from "../../src/queue/schema.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { prepareStatements } from "../../src/queue/statements.ts";
import { cardLane, userLane } from "../../src/queue/store.ts";
import { prepareStreamStatements } from "../../src/queue/stream-statements.ts";
import { conversation, crashImage, entry, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";
import { LANE, closing, finalise, rest, stream } from "./stream-helpers.ts";

const DAY = 86_400_000;
const ids = (rows: readonly { id: string }[]): string[] => rows.map(({ id }) => id);

describe("a stream", () => {
  it("is kept with every field, open or closed, and found after a crash", async () => {
    const directory = temporaryDirectory();
    const { streams } = openStore(directory);
    const whole = stream(2, {
      account: "other",
      inReplyTo: "other:msg==",
      mode: "buffered",
      asked: "card",
      format: "text",
      card: "failed",
      text: "你好 👋\u0000\n",
      seq: 7,
      state: "closed",
      shownText: "你好",
      digest: "d",
      finishedBy: "restart",
      messageId: "out_1",
      closedAt: 9,
    });
    await Promise.all([streams.add(stream(1)), streams.add(whole)]);
    const after = openStore(crashImage(directory)).streams;
    for (const { find, open } of [streams, after].map((one) => ({ find: one.find.bind(one), open: one.open() }))) {
      expect([find("st_1"), find("st_2"), find("st_3")]).toEqual([stream(1), whole, undefined]);
      expect(open).toEqual([stream(1)]);
    }
  });

  it("has an id and a card of its own; a second one is refused, and nobody else's write with it", async () => {
    const store = openStore();
    const { streams } = store;
    await streams.add(stream(1, { text: "first" }));
    const results = await Promise.allSettled([
      streams.add(stream(2)),
      streams.add(stream(1, { outTrackId: "br_9" })),
      streams.add(stream(9, { outTrackId: "br_1" })),
      store.append(entry("a")),
    ]);
    expect(results).toMatchObject([
      { status: "fulfilled" },
      { reason: { code: "internal" } },
      { reason: { code: "internal" } },
      { status: "fulfilled" },
    ]);
    expect(streams.open()).toEqual([stream(1, { text: "first" }), stream(2)]);
    expect(store.failure).toBeUndefined();
  });

  it("takes numbers that no column takes", async () => {
    const { streams } = openStore();
    await streams.add(stream(1, { idleMs: Infinity, createdAt: 1.5 }));
    await streams.note("st_1", { seq: 1e300 });
    expect(streams.find("st_1")).toMatchObject({
      idleMs: Number.MAX_SAFE_INTEGER,
      createdAt: 1,
      seq: Number.MAX_SAFE_INTEGER,
    });
    await streams.note("st_1", { seq: Number.NaN });
    expect(streams.find("st_1")?.seq).toBe(0);
  });

  it("is listed oldest first while it is open", async () => {
    const { streams } = openStore();
    for (const n of [3, 1, 2]) await streams.add(stream(n));
    await streams.add(stream(4, { createdAt: stream(2).createdAt }));
    expect(ids(streams.open())).toEqual(["st_1", "st_2", "st_4", "st_3"]);
    await streams.close("st_2", closing(), []);
    expect(ids(streams.open())).toEqual(["st_1", "st_4", "st_3"]);
  });
});

describe("note", () => {
  it("writes what is named and nothing else, and is there after a crash at each state", async () => {
    const directory = temporaryDirectory();
    const { streams } = openStore(directory);
    await streams.add(stream(1));
    let expected = stream(1);
    for (const change of [
      { card: "creating" },
      { card: "shown", text: "一" },
      { text: "一二", seq: 2 },
      { seq: 3 },
      { shownText: "一" },
      { text: "" },
      { card: "finished" },
    ] as const) {
      expect(await streams.note("st_1", change)).toBe(true);
      expected = { ...expected, ...change };
      expect(openStore(crashImage(directory)).streams.open()).toEqual([expected]);
    }
    expect(await streams.note("st_1", {})).toBe(true);
    expect(streams.find("st_1")).toEqual(expected);
  });

  it("leaves a closed stream and an unknown one alone", async () => {
    const { streams } = openStore();
    await streams.add(stream(1));
    await streams.close("st_1", closing(), []);
    const closed = streams.find("st_1");
    expect(await streams.note("st_1", { text: "late", card: "failed", seq: 9 })).toBe(false);
    expect(await streams.note("st_2", { text: "x" })).toBe(false);
    expect(streams.find("st_1")).toEqual(closed);
  });
});

describe("close", () => {
  it("closes the row and appends in one commit, entries of both lanes", async () => {
    const directory = temporaryDirectory();
    const metrics = createMetrics();
    const store = new SqliteStore({ directory, metrics });
    onTestFinished(() => store.close());
    await store.streams.add(stream(1, { card: "shown", seq: 4 }));
    const operations = async (): Promise<number> => (await metrics.commitRows.get()).values[0]?.value ?? 0;
    const before = await operations();
    const appended = await store.streams.close("st_1", closing({ card: "finished", messageId: "main:rest1" }), [
      finalise(1, { digest: "d2" }),
      rest(1, { usage: { robot: "r", month: "2026-11", class: "card_finish", at: 1 } }),
    ]);
    expect(await operations()).toBe(before + 1);
    expect(appended).toEqual([
      { seq: 1, id: "main:finish1", lane: cardLane("main", "br_1"), duplicate: false, digest: "d2" },
      { seq: 2, id: "main:rest1", lane: LANE, duplicate: false, digest: undefined },
    ]);
    const after = openStore(crashImage(directory));
    expect(after.streams.find("st_1")).toEqual(
      stream(1, {
        card: "finished",
        seq: 4,
        text: "all of it",
        state: "closed",
        digest: "d1",
        finishedBy: "gateway",
        messageId: "main:rest1",
        closedAt: 5_000,
      }),
    );
    expect(after.streams.open()).toEqual([]);
    expect(after.heads("outbox").map(({ lane }) => lane)).toEqual([cardLane("main", "br_1"), LANE]);
    expect(after.parts(2).map(({ body }) => body)).toEqual([{ text: "one" }, { text: "two" }]);
    expect(after.quota.read("2026-11").usage).toMatchObject([{ n: 1 }]);
  });

  it("keeps the card's state and the message where it names none", async () => {
    const { streams } = openStore();
    await streams.add(stream(1, { card: "shown", messageId: "main:x" }));
    expect(await streams.close("st_1", closing({ finishedBy: "idle", digest: undefined }), [])).toEqual([]);
    expect(streams.find("st_1")).toMatchObject({ card: "shown", messageId: "main:x", finishedBy: "idle" });
    expect(streams.find("st_1")?.digest).toBeUndefined();
  });

  it("does nothing the second time, whoever is second, nor for one that nobody knows", async () => {
    const store = openStore();
    const { streams } = store;
    await streams.add(stream(1));
    const [first, second] = await Promise.all([
      streams.close("st_1", closing(), [finalise(1)]),
      streams.close("st_1", closing({ text: "other", finishedBy: "idle", at: 6_000 }), [rest(1)]),
    ]);
    expect([first, second]).toMatchObject([[{ id: "main:finish1" }], false]);
    expect(await streams.close("st_1", closing({ text: "third" }), [rest(1)])).toBe(false);
    expect(await streams.close("st_2", closing(), [rest(1)])).toBe(false);
    expect(streams.find("st_1")).toMatchObject({ text: "all of it", finishedBy: "gateway", closedAt: 5_000 });
    expect([store.find("outbox", "main:rest1"), store.counts("outbox").open]).toEqual([undefined, 1]);
  });

  it("reports an entry whose key is there already, and appends the others", async () => {
    const store = openStore();
    await store.append(rest(1, { id: "main:first", digest: "before" }));
    await store.streams.add(stream(1));
    expect(await store.streams.close("st_1", closing(), [rest(1), finalise(1), finalise(1)])).toMatchObject([
      { id: "main:first", duplicate: true, digest: "before" },
      { id: "main:finish1", duplicate: false },
      { id: "main:finish1", duplicate: true },
    ]);
    expect(store.streams.open()).toEqual([]);
    expect(store.counts("outbox").open).toBe(2);
  });

  it("is refused by no bound: the reply was accepted when its stream was", async () => {
    const store = openStore();
    await store.append(rest(0));
    await store.streams.add(stream(1));
    const bounded = rest(1, { atMost: { lane: 1, queue: 1 } });
    await expect(store.append(bounded)).rejects.toMatchObject({ code: "queue_full" });
    expect(await store.streams.close("st_1", closing(), [bounded])).toMatchObject([{ duplicate: false }]);
  });
});

describe("all or nothing", () => {
  it("an id that another entry has leaves the stream open and appends none, and touches nobody else's write", async () => {
    const directory = temporaryDirectory();
    const store = openStore(directory);
    const { streams } = store;
    await store.append(rest(9));
    await Promise.all([streams.add(stream(1)), streams.add(stream(2))]);
    const stolen = rest(1, { id: "main:rest9" });
    const results = await Promise.allSettled([
      store.append(entry("before")),
      streams.close("st_1", closing(), [finalise(1), stolen]),
      streams.fill("st_2", { shownText: "half", text: "half and more" }, [finalise(2), stolen]),
      store.append(entry("after")),
    ]);
    expect(results).toMatchObject([
      { status: "fulfilled" },
      { reason: { code: "internal" } },
      { reason: { code: "internal" } },
      { status: "fulfilled" },
    ]);
    for (const one of [store, openStore(crashImage(directory))]) {
      expect(one.streams.open()).toEqual([stream(1), stream(2)]);
      expect(one.heads("outbox")).toHaveLength(1);
      expect(one.counts("outbox").open).toBe(1);
      expect(["before", "after"].map((name) => one.find("inbox", `main:${name}`)?.state)).toEqual(["open", "open"]);
    }
    expect(store.failure).toBeUndefined();
    expect(await streams.close("st_1", closing(), [finalise(1)])).toMatchObject([{ duplicate: false }]);
  });

  it("two new entries of one call that claim one id are refused too", async () => {
    const store = openStore();
    await store.streams.add(stream(1));
    const close = store.streams.close("st_1", closing(), [rest(1), rest(2, { id: "main:rest1" })]);
    await expect(close).rejects.toMatchObject({ code: "internal" });
    expect([store.counts("outbox").open, store.streams.open()]).toEqual([0, [stream(1)]]);
  });

  it("a disk that takes a part of it keeps none of it, and it can be done again", async () => {
    const { store, db } = openWithHandle();
    await store.streams.add(stream(1));
    const pages = Number(db.prepare("PRAGMA page_count").get()?.["page_count"]);
    db.exec(`PRAGMA max_page_count = ${pages + 2}`);
    const work = (): Promise<unknown> =>
      store.streams.close("st_1", closing(), [finalise(1), rest(1, { body: "x".repeat(200_000) })]);
    const results = await Promise.allSettled([store.append(entry("a")), work()]);
    expect(results).toMatchObject([{ status: "fulfilled" }, { reason: { code: "store_unavailable" } }]);
    expect([store.streams.open(), store.counts("outbox").open]).toEqual([[stream(1)], 0]);
    db.exec("PRAGMA max_page_count = 1000000");
    expect(await work()).toMatchObject([{ duplicate: false }, { duplicate: false }]);
    expect(store.streams.open()).toEqual([]);
  });

  it("what is no JSON is refused before anything is written", async () => {
    const store = openStore();
    await store.streams.add(stream(1));
    await expect(store.streams.close("st_1", closing(), [rest(1, { body: 1n })])).rejects.toThrow(TypeError);
    expect(store.streams.open()).toEqual([stream(1)]);
  });
});

describe("fill", () => {
  it("finishes the card once while the stream goes on, then close brings the rest", async () => {
    const directory = temporaryDirectory();
    const store = openStore(directory);
    const { streams } = store;
    await streams.add(stream(1, { card: "shown" }));
    const change = { shownText: "half", text: "half and more" };
    expect(await streams.fill("st_1", change, [finalise(1)])).toMatchObject([{ id: "main:finish1" }]);
    const filled = stream(1, { card: "shown", ...change });
    const after = openStore(crashImage(directory));
    expect(after.streams.open()).toEqual([filled]);
    expect(after.head("outbox", cardLane("main", "br_1"))).toBeDefined();
    expect(await streams.fill("st_1", { shownText: "another", text: "x" }, [finalise(2)])).toBe(false);
    expect(await streams.note("st_1", { card: "finished", text: "half and more and more" })).toBe(true);
    expect(await streams.close("st_1", closing(), [rest(1)])).toMatchObject([{ id: "main:rest1", lane: LANE }]);
    expect(await streams.fill("st_1", change, [finalise(3)])).toBe(false);
    expect(streams.find("st_1")).toMatchObject({ shownText: "half", card: "finished", state: "closed" });
    expect(store.heads("outbox").map(({ lane }) => lane)).toEqual([cardLane("main", "br_1"), LANE]);
  });

  it("does nothing to a closed stream or an unknown one", async () => {
    const store = openStore();
    await store.streams.add(stream(1));
    await store.streams.close("st_1", closing(), []);
    for (const id of ["st_1", "st_2"]) {
      expect(await store.streams.fill(id, { shownText: "a", text: "ab" }, [finalise(1)])).toBe(false);
    }
    expect([store.counts("outbox").open, store.streams.find("st_1")?.shownText]).toEqual([0, ""]);
  });
});

describe("a person whose direct conversation becomes known", () => {
  const person = userLane("main", "staff001");
  const known = conversation({ id: "cidDirect", staffId: "staff001" });
  const direct = "main\ncidDirect";

  it("takes open streams along, and the entries of a close that comes later or at the same time", async () => {
    const store = openStore();
    const { streams } = store;
    const others = [
      stream(3, { lane: userLane("main", "staff002") }),
      stream(4, { lane: userLane("other", "staff001") }),
    ];
    for (const row of [...[1, 2, 7].map((n) => stream(n, { lane: person })), ...others]) await streams.add(row);
    await streams.close("st_2", closing(), []);
    const [, closed] = await Promise.all([
      store.append(entry("a"), known),
      streams.close("st_1", closing(), [rest(1, { lane: person }), finalise(1)]),
      streams.add(stream(5, { lane: person })),
    ]);
    expect(closed).toMatchObject([{ lane: direct }, { lane: cardLane("main", "br_1") }]);
    expect(streams.open()).toEqual([...others, stream(5, { lane: direct }), stream(7, { lane: direct })]);
    expect(streams.find("st_2")?.lane).toBe(person);
    await streams.add(stream(6, { lane: person }));
    expect(streams.find("st_6")?.lane).toBe(direct);
  });

  it("never moves a card's lane", async () => {
    const store = openStore();
    const lanes = ["staff001", "user:staff001"].map((name) => cardLane("main", name));
    for (const [n, lane] of lanes.entries()) await store.append(finalise(n, { lane }));
    const { merged } = await store.append(entry("a"), known);
    expect(merged).toBeUndefined();
    expect(store.heads("outbox").map(({ lane }) => lane)).toEqual(lanes);
  });
});

it("the purge takes closed streams that are old enough, however many; open ones never", async () => {
  const store = openStore();
  const { streams } = store;
  const add = (n: number, closedAt?: number): Promise<void> =>
    streams.add(stream(n, { createdAt: 0, ...(closedAt !== undefined && { state: "closed", closedAt }) }));
  await Promise.all([add(1), add(2, 10), add(3, 9), ...Array.from({ length: 3_500 }, (_, n) => add(n + 10, n % 10))]);
  await store.indicators.add({ account: "main", msgId: "old", conversationId: "cidA", name: "🤔", at: 9 });
  await store.indicators.add({ account: "main", msgId: "new", conversationId: "cidA", name: "🤔", at: 10 });
  const before = { settledBefore: 10, deadBefore: 0, conversationsBefore: 0, now: 0 };
  expect(await store.purge(before)).toBe(3_502);
  expect([1, 2, 3, 10].map((n) => streams.find(`st_${n}`)?.state)).toEqual(["open", "closed", undefined, undefined]);
  expect(store.indicators.all().map(({ msgId }) => msgId)).toEqual(["new"]);
  await store.purge({ ...before, settledBefore: 400 * DAY });
  expect([1, 2].map((n) => streams.find(`st_${n}`)?.state)).toEqual(["open", undefined]);
});

it("has an index for every look-up of streams and of a card's lane", () => {
  const { db } = openWithHandle();
  const plan = (statement: StatementSync): string =>
    db
      .prepare(`EXPLAIN QUERY PLAN ${statement.sourceSQL}`)
      .all()
      .map(({ detail }) => String(detail))
      .join("\n");
  const [sql, streams] = [prepareStatements(db), prepareStreamStatements(db)];
  expect(plan(streams.open)).toBe("SCAN streams USING INDEX streams_open");
  for (const statement of [streams.find, streams.note, streams.close, streams.fill]) {
    expect(plan(statement)).toMatch(/^SEARCH streams USING INDEX sqlite_autoindex_streams_1 \(id=\?\)$/);
  }
  expect(plan(sql.mergeStreams)).toBe("SEARCH streams USING INDEX streams_lane (lane=?)");
  expect(plan(streams.purge)).toMatch(/SEARCH streams USING COVERING INDEX streams_closed \(closed_at<\?\)/);
  for (const statement of [sql.head, sql.front, sql.laneHas]) {
    expect(plan(statement)).toMatch(/^SEARCH entries USING (COVERING )?INDEX entries_open \(queue=\? AND lane=\?\)$/);
  }
  expect(plan(sql.recentSends)).toMatch(/SEARCH entries USING INDEX entries_settled \(settled_at>\?\)/);
});

it("data of the release before it goes on, with a copy of it beside", async () => {
  const directory = temporaryDirectory();
  const old = new DatabaseSync(join(directory, "bridge.db"));
  migrate(old, () => {}, MIGRATIONS.slice(0, 6));
  old.exec(`
    INSERT INTO entries (queue, id, key, account, lane, kind, body, created_at)
    VALUES ('outbox', 'main:old', 'key:old', 'main', 'main' || char(10) || 'cidA', 'message', '{}', 1);
    INSERT INTO media (id, account, origin, mime_type, bytes, sha256, created_at)
    VALUES ('m_1', 'main', 'upload', 'image/png', 1, '', 1)`);
  old.close();
  const store = openStore(directory);
  expect(SCHEMA_VERSION).toBeGreaterThan(6);
  expect(existsSync(join(directory, "bridge.schema-6.backup.db"))).toBe(true);
  expect([store.counts("outbox").open, store.media.totals().files]).toEqual([1, 1]);
  expect([store.streams.open(), store.indicators.all()]).toEqual([[], []]);
  await store.streams.add(stream(1));
  expect(await store.streams.close("st_1", closing(), [rest(1)])).toMatchObject([{ duplicate: false, lane: LANE }]);
});

it("a stream of the release that did not keep how it was asked for goes on", () => {
  const directory = temporaryDirectory();
  const old = new DatabaseSync(join(directory, "bridge.db"));
  migrate(old, () => {}, MIGRATIONS.slice(0, 7));
  old.exec(`
    INSERT INTO streams (id, account, lane, target, idle_ms, mode, format, out_track_id, template_id, template_key, card, text, seq,
                         state, shown_text, created_at)
    VALUES ('st_1', 'main', 'main' || char(10) || 'cidA', 'conversation:cidA', 600000, 'card', 'markdown', 'br_1',
            'template.schema', 'content', 'none', '', 0, 'open', '', 1001)`);
  old.close();
  const { streams } = openStore(directory);
  expect(existsSync(join(directory, "bridge.schema-7.backup.db"))).toBe(true);
  expect(streams.open()).toEqual([stream(1)]);
});
