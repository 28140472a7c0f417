import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { createMetrics } from "../../src/ops/metrics.ts";
import type { MediaFile, NewFetch } from "../../src/queue/media-store.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import type { NewEntry } from "../../src/queue/store.ts";
import { crashImage, entry, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";

const idOf = (n: number): string => `m_${n.toString(16).padStart(32, "0")}`;
const file = (n: number, fields: Partial<MediaFile> = {}): MediaFile => ({
  id: idOf(n),
  account: "main",
  origin: "upload",
  mimeType: "image/png",
  bytes: 100,
  sha256: "ab".repeat(32),
  fileName: undefined,
  durationMs: undefined,
  width: undefined,
  height: undefined,
  createdAt: 1_000,
  ...fields,
});
const picture: NewFetch = { path: ["message", "parts", 0], type: "image", downloadCode: "code0" };
const voice: NewFetch = {
  path: ["message", "parts", 1],
  type: "audio",
  downloadCode: "code1",
  fileName: "语音.amr",
  durationMs: 4_000,
};
const refused = { error: { code: "media_expired", detail: "no such code" } } as const;
const numbers = (ids: Iterable<string>): number[] =>
  [...ids].map((id) => Number.parseInt(id.slice(2), 16)).sort((a, b) => a - b);
const ALL = { before: -1, maxBytes: Number.MAX_SAFE_INTEGER, uploadsBefore: 0 };

describe("files", () => {
  it("keeps every field, knows its ids and how much they are", async () => {
    const { media } = openStore();
    expect([media.totals(), media.find(idOf(1)), media.ids()]).toEqual([{ files: 0, bytes: 0 }, undefined, new Set()]);
    const voice = file(1, { origin: "url", fileName: "语音 👋.amr", durationMs: 1_020, width: 1, height: 2 });
    await Promise.all([media.add(voice), media.add(voice), media.add(file(2, { account: "other", bytes: 0 }))]);
    expect(media.find(idOf(1))).toEqual(voice);
    expect(media.find(idOf(2))).toEqual(file(2, { account: "other", bytes: 0 }));
    expect(media.totals()).toEqual({ files: 2, bytes: 100 });
    expect(media.ids()).toEqual(new Set([idOf(1), idOf(2)]));
  });

  it("takes whatever a file says about itself", async () => {
    const { media } = openStore();
    await media.add(file(1, { durationMs: 12.6, width: Number.NaN, height: 1e300, fileName: "a\ud800\n" }));
    expect(media.find(idOf(1))).toMatchObject({ durationMs: 13, width: undefined, height: undefined });
  });
});

describe("what is to be fetched", () => {
  it("comes with the entry, in its commit, once however often it is pushed", async () => {
    const metrics = createMetrics();
    const store = new SqliteStore({ directory: temporaryDirectory(), metrics });
    onTestFinished(() => store.close());
    const [{ seq }] = await Promise.all([
      store.append(entry("a", { fetches: [picture, voice] })),
      store.append(entry("a", { fetches: [picture, voice] })),
    ]);
    await store.append(entry("b"));
    const { values } = await metrics.commitSeconds.get();
    expect(values.find(({ metricName }) => metricName?.endsWith("_count"))?.value).toBe(2);
    const about = { seq, account: "main", lane: "main\ncidA", createdAt: 1_000, attempts: 0, result: undefined };
    expect(store.media.fetchesOf(seq)).toEqual([
      { ...picture, n: 0, ...about },
      { ...voice, n: 1, ...about },
    ]);
    expect(store.media.fetchesOf(seq + 1)).toEqual([]);
    expect(store.media.unfinishedFetches()).toEqual(store.media.fetchesOf(seq));
  });

  it("is given back as it was told, whatever names and codes hold", async () => {
    const store = openStore();
    const text = fc.string({ unit: "binary" });
    const fetch = fc.record(
      {
        path: fc.array(fc.oneof(text, fc.nat())),
        type: fc.constantFrom<NewFetch["type"]>("image", "file", "audio", "video"),
        downloadCode: text,
        fileName: text,
        durationMs: fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }),
      },
      { requiredKeys: ["path", "type", "downloadCode"] },
    );
    let n = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fetch, { maxLength: 3 }), async (fetches) => {
        const { seq } = await store.append(entry(`${(n += 1)}`, { fetches }));
        expect(store.media.fetchesOf(seq)).toMatchObject(fetches);
        expect(store.media.fetchesOf(seq)).toHaveLength(fetches.length);
      }),
    );
  });

  it("is there after a crash with the attempts made, as long as it is not settled and its entry is open", async () => {
    const directory = temporaryDirectory();
    const store = openStore(directory);
    const { media } = store;
    const append = async (name: string, fields: Partial<NewEntry> = {}): Promise<number> =>
      (await store.append(entry(name, { fetches: [picture, voice], ...fields }))).seq;
    const first = await append("first");
    const second = await append("second", { account: "other", lane: "other\ncidA" });
    const done = await append("done");
    const stopped = await append("stopped");
    await append("dead", { dead: { code: "unreadable", detail: "" } });
    await media.fetchBegun(second, 1);
    await media.fetchBegun(first, 1);
    await media.fetchBegun(first, 1);
    await media.fetchSettled(first, 0, { media: file(1, { origin: "inbound" }) });
    for (const n of [0, 1]) await media.fetchSettled(done, n, refused);
    await store.cancel("inbox", "main:stopped", 1);
    void media.fetchSettled(first, 1, { media: file(2) });
    const after = openStore(crashImage(directory)).media;
    const left = after.unfinishedFetches();
    expect(left.map(({ seq, n, attempts, account }) => [seq, n, attempts, account])).toEqual([
      [first, 1, 2, "main"],
      [second, 0, 0, "other"],
      [second, 1, 1, "other"],
    ]);
    expect(left[0]).toMatchObject(voice);
    expect(after.fetchesOf(first).map(({ result }) => result)).toEqual([
      { media: file(1, { origin: "inbound" }) },
      undefined,
    ]);
    expect(after.ids()).toEqual(new Set([idOf(1)]));
    expect(after.fetchesOf(stopped)).toHaveLength(2);
  });

  it("keeps the first result, and no file without the result of its fetch", async () => {
    const { store, db } = openWithHandle();
    const { media } = store;
    const { seq } = await store.append(entry("a", { fetches: [picture, voice] }));
    await Promise.all([
      media.fetchSettled(seq, 0, refused),
      media.fetchSettled(seq, 0, { media: file(1) }),
      media.fetchSettled(seq, 1, { media: file(2) }),
      media.fetchSettled(seq, 1, refused),
    ]);
    expect(media.fetchesOf(seq).map(({ result }) => result)).toEqual([refused, { media: file(2) }]);
    const other = await store.append(entry("b", { fetches: [picture] }));
    db.exec("CREATE TRIGGER broken BEFORE UPDATE ON media_fetches BEGIN SELECT raise(ABORT, 'broken'); END");
    const failing = media.fetchSettled(other.seq, 0, { media: file(3) });
    await expect(failing).rejects.toMatchObject({ code: "store_unavailable", retryable: true });
    expect(media.find(idOf(3))).toBeUndefined();
    expect(media.unfinishedFetches()).toHaveLength(1);
  });

  it("says of a file that has expired since that it has", async () => {
    const store = openStore();
    const { seq } = await store.append(entry("a", { fetches: [picture] }));
    await store.media.fetchSettled(seq, 0, { media: file(1) });
    await store.settle(seq, { state: "dead", at: 5, error: { code: "rejected", detail: "" } });
    expect(await store.media.expire({ ...ALL, maxBytes: 0 })).toEqual([idOf(1)]);
    await store.replay("inbox", "main:a", 9);
    expect(store.media.fetchesOf(seq)[0]?.result).toMatchObject({ error: { code: "media_expired" } });
    expect(store.media.unfinishedFetches()).toEqual([]);
  });

  it("goes with its entry; a result that comes later is nobody's", async () => {
    const { store, db } = openWithHandle();
    const rows = (): unknown =>
      db.prepare("SELECT (SELECT count(*) FROM media_fetches), (SELECT count(*) FROM media_uses)").get();
    const { seq } = await store.append(entry("a", { fetches: [picture, voice] }));
    const sent = await store.append(entry("b", { queue: "outbox", media: [idOf(1), idOf(1), idOf(9)] }));
    await store.media.fetchSettled(seq, 0, { media: file(1) });
    for (const one of [seq, sent.seq]) await store.settle(one, { state: "delivered", at: 1 });
    expect(Object.values(rows() as object)).toEqual([2, 2]);
    await store.purge({ settledBefore: 2, deadBefore: 0, conversationsBefore: 0, now: 0 });
    expect(Object.values(rows() as object)).toEqual([0, 0]);
    await store.media.fetchSettled(seq, 1, { media: file(2) });
    await store.media.add(file(3), sent.seq);
    expect([store.media.fetchesOf(seq), numbers(store.media.ids())]).toEqual([[], [1, 2, 3]]);
    expect(Object.values(rows() as object)).toEqual([0, 0]);
    expect(numbers(await store.media.expire({ ...ALL, before: 1_001 }))).toEqual([1, 2, 3]);
  });
});

describe("expiry", () => {
  it("takes what is too old, then the oldest until the rest fits", async () => {
    const { media } = openStore();
    for (let n = 0; n < 10; n += 1) await media.add(file(n, { createdAt: n * 10 }));
    expect(await media.expire({ ...ALL, maxBytes: 1_000 })).toEqual([]);
    expect(numbers(await media.expire({ ...ALL, before: 20 }))).toEqual([0, 1]);
    expect(numbers(await media.expire({ ...ALL, before: 40, maxBytes: 750 }))).toEqual([2, 3]);
    expect(numbers(await media.expire({ ...ALL, before: 50, maxBytes: 300 }))).toEqual([4, 5, 6]);
    expect([numbers(media.ids()), media.totals()]).toEqual([[7, 8, 9], { files: 3, bytes: 300 }]);
  });

  it("spares what open entries use: fetched, named, or added for them", async () => {
    const store = openStore();
    const { media } = store;
    const inbound = await store.append(entry("in", { fetches: [picture, voice] }));
    await media.fetchSettled(inbound.seq, 0, { media: file(1, { createdAt: 1 }) });
    await media.fetchSettled(inbound.seq, 1, refused);
    for (const n of [0, 2, 3, 5]) await media.add(file(n, { createdAt: n }));
    const outbound = await store.append(entry("out", { queue: "outbox", media: [idOf(2), idOf(3)] }));
    const second = await store.append(entry("out2", { queue: "outbox", media: [idOf(2)] }));
    await media.add(file(4, { createdAt: 4 }), second.seq);
    expect(numbers(await media.expire({ ...ALL, before: 10 }))).toEqual([0, 5]);
    expect(numbers(await media.expire({ ...ALL, maxBytes: 0 }))).toEqual([]);
    await store.settle(outbound.seq, { state: "delivered", at: 1 });
    expect(numbers(await media.expire({ ...ALL, maxBytes: 0 }))).toEqual([3]);
    await store.settle(second.seq, { state: "dead", at: 1, error: { code: "media_expired", detail: "" } });
    await store.replay("outbox", "main:out2", 2);
    expect(numbers(await media.expire({ ...ALL, maxBytes: 0 }))).toEqual([]);
    await store.settle(inbound.seq, { state: "open", dueAt: 9, counted: true });
    expect(numbers(await media.expire({ ...ALL, before: 10 }))).toEqual([]);
    for (const { seq } of [inbound, second]) await store.settle(seq, { state: "delivered", at: 3 });
    expect(numbers(await media.expire({ ...ALL, maxBytes: 199 }))).toEqual([1, 2]);
    expect(numbers(media.ids())).toEqual([4]);
  });

  it("spares what a message that comes in the same turn uses", async () => {
    const store = openStore();
    await store.media.add(file(1));
    await store.media.add(file(2));
    const expired = store.media.expire({ ...ALL, maxBytes: 0 });
    await store.append(entry("out", { queue: "outbox", media: [idOf(1)] }));
    expect([numbers(await expired), numbers(store.media.ids())]).toEqual([[2], [1]]);
  });

  it("spares what came lately, however much there is, and takes more of the rest for it", async () => {
    const { media } = openStore();
    for (const n of [1, 2, 3, 4]) await media.add(file(n, { createdAt: n * 10 }));
    const expire = async (options: object): Promise<number[]> => numbers(await media.expire({ ...ALL, ...options }));
    expect(await expire({ maxBytes: 300, spareSince: 10 })).toEqual([]);
    expect(await expire({ maxBytes: 300, spareSince: 30 })).toEqual([1]);
    expect(await expire({ maxBytes: 0, spareSince: 30 })).toEqual([2]);
    expect(await expire({ maxBytes: 0, before: 1_000, spareSince: 40 })).toEqual([3]);
    expect(await expire({ maxBytes: 0, before: 1_000, spareSince: 40 })).toEqual([]);
    expect(await expire({ maxBytes: 0, spareSince: 41 })).toEqual([4]);
  });

  it("goes through more than one page, past many that are used", async () => {
    const { store, db } = openWithHandle();
    db.exec(`
      INSERT INTO media (id, account, origin, mime_type, bytes, sha256, created_at)
      WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3500)
      SELECT printf('m_%032x', n), 'main', 'upload', 'image/png', 1, '', n / 2000 FROM n`);
    const media = Array.from({ length: 1_500 }, (_, n) => idOf(n + 501));
    await store.append(entry("out", { queue: "outbox", media }));
    const gone = await store.media.expire({ ...ALL, maxBytes: 1_800 });
    expect(gone).toHaveLength(1_700);
    expect(new Set(gone)).not.toContain(idOf(600));
    expect([gone[0], gone[500], gone.at(-1)]).toEqual([idOf(1), idOf(2_001), idOf(3_200)]);
    expect(store.media.totals()).toEqual({ files: 1_800, bytes: 1_800 });
  });

  it("tells what it has deleted although the rest failed, and rejects when that is nothing", async () => {
    const { store, db } = openWithHandle();
    for (let n = 0; n < 1_200; n += 1) void store.media.add(file(n, { createdAt: n }));
    await store.media.add(file(1_200, { createdAt: 1_200 }));
    db.exec(
      `CREATE TRIGGER broken BEFORE DELETE ON media WHEN OLD.created_at >= 1000 BEGIN SELECT raise(ABORT, ''); END`,
    );
    expect(await store.media.expire({ ...ALL, maxBytes: 0 })).toHaveLength(1_000);
    await expect(store.media.expire({ ...ALL, maxBytes: 0 })).rejects.toMatchObject({ code: "store_unavailable" });
    expect(store.media.totals().files).toBe(201);
  });
});

describe("what DingTalk has already", () => {
  it("is known by account, content and type until it is too old, refused, or uploaded again", async () => {
    const { media } = openStore();
    const upload = { account: "main", sha256: "ab", type: "image", mediaId: "@a", at: 10 };
    await Promise.all([
      media.rememberUpload(upload),
      media.rememberUpload({ ...upload, type: "file", mediaId: "@b" }),
      media.rememberUpload({ ...upload, account: "other", mediaId: "@c" }),
    ]);
    expect(media.uploaded("main", "ab", "image", 10)).toBe("@a");
    expect(media.uploaded("main", "ab", "image", 11)).toBeUndefined();
    expect(media.uploaded("main", "ab", "voice", 0)).toBeUndefined();
    expect(media.uploaded("main", "cd", "image", 0)).toBeUndefined();
    await media.rememberUpload({ ...upload, mediaId: "@d", at: 20 });
    expect(media.uploaded("main", "ab", "image", 11)).toBe("@d");
    await media.forgetUpload("other", "@d");
    expect(media.uploaded("main", "ab", "image", 0)).toBe("@d");
    await media.forgetUpload("main", "@d");
    expect(media.uploaded("main", "ab", "image", 0)).toBeUndefined();
    await media.expire({ ...ALL, uploadsBefore: 10 });
    expect(media.uploaded("main", "ab", "file", 0)).toBe("@b");
    await media.expire({ ...ALL, uploadsBefore: 11 });
    expect([media.uploaded("main", "ab", "file", 0), media.uploaded("other", "ab", "image", 0)]).toEqual([
      undefined,
      undefined,
    ]);
  });
});
