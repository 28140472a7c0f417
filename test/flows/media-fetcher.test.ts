import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { BridgeError } from "../../src/domain/errors.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import type { Failure } from "../../src/dingtalk/answers.ts";
import { MediaFetcher, type MediaFetcherOptions } from "../../src/flows/media-fetcher.ts";
import { MediaFiles } from "../../src/flows/media-files.ts";
import type { NewFetch } from "../../src/queue/media-store.ts";
import type { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { conversationLane } from "../../src/queue/store.ts";
import { entry, openStore, openWithHandle, temporaryDirectory } from "../queue/helpers.ts";
import { run, silent } from "../queue/runner.ts";

type Answer = { kind: "done"; url: string } | Failure;

/** What DingTalk and its file server do; both wait for the test where it says so. */
interface Peer {
  exchange: (code: string, signal: AbortSignal | undefined) => Promise<Answer>;
  body: (code: string, signal: AbortSignal | undefined) => AsyncIterable<Uint8Array>;
}

const bytesOf = (code: string): Buffer => Buffer.from(`the bytes of ${code}`);
const once = async function* (bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield await Promise.resolve(bytes);
};
const lane = (id: string): string => conversationLane("main", id);
const fetchOf = (downloadCode: string): NewFetch => ({ path: ["parts", 0], type: "file", downloadCode });
const silentForever = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason as Error));
  });

function setUp(peer: Partial<Peer> = {}, options: Partial<MediaFetcherOptions> & { store?: SqliteStore } = {}) {
  const store = options.store ?? openStore();
  const directory = join(temporaryDirectory(), "media");
  const exchanged: string[] = [];
  const { exchange = (code) => Promise.resolve({ kind: "done", url: code }), body = (code) => once(bytesOf(code)) } =
    peer;
  const fetcher = new MediaFetcher({
    files: new MediaFiles({ directory, refusal: () => undefined, logger: silent }),
    api: () => ({
      downloadUrl: (code, signal) => {
        exchanged.push(code);
        return exchange(code, signal);
      },
    }),
    fetch: (code, { signal }) =>
      Promise.resolve({
        body: body(code, signal),
        fileName: undefined,
        declaredType: undefined,
        close: () => undefined,
      }),
    maxBytes: 1_000,
    perAccount: 8,
    refusal: () => undefined,
    clock: { now: () => 5_000, monotonic: () => performance.now() },
    logger: silent,
    metrics: createMetrics(),
    ...options,
    store,
    timings: { delaysMs: [1, 1], storePauseMs: 1, ...options.timings },
  });
  onTestFinished(() => fetcher.stop());
  const add = async (name: string, where = "cidA", codes = [name]): Promise<number> => {
    const { seq } = await store.append(entry(name, { lane: lane(where), fetches: codes.map(fetchOf) }));
    fetcher.added(seq);
    return seq;
  };
  const result = (seq: number, n = 0) => store.media.fetchesOf(seq)[n]?.result;
  const stored = (): string[] => readdirSync(directory);
  return { store, fetcher, exchanged, add, result, stored, directory };
}

describe("a file", () => {
  it("is on disk as it was offered, with its row and its result in the store", async () => {
    const { fetcher, add, result, store, directory } = setUp();
    await fetcher.start();
    const seq = await add("a");
    await expect.poll(() => fetcher.isPending(seq)).toBe(false);
    const found = result(seq);
    if (!found || !("media" in found)) throw new Error("not fetched");
    const sha256 = createHash("sha256").update(bytesOf("a")).digest("hex");
    expect(found.media).toMatchObject({ account: "main", origin: "inbound", sha256, createdAt: 5_000 });
    expect(readFileSync(join(directory, found.media.id))).toEqual(bytesOf("a"));
    expect(store.media.find(found.media.id)).toEqual(found.media);
  });

  it.each<[string, Failure]>([
    ["dingtalk_quota_exhausted", { kind: "retry", class: "peer-away", code: "dingtalk_quota_exhausted", detail: "x" }],
    [
      "dingtalk_permission_missing",
      { kind: "retry", class: "peer-away", code: "dingtalk_permission_missing", detail: "x" },
    ],
    ["dingtalk_rejected", { kind: "rejected", code: "dingtalk_rejected", detail: "x" }],
  ])("is given up at once where only a person or another month helps: %s", async (code, failure) => {
    const { fetcher, add, result, exchanged } = setUp({ exchange: () => Promise.resolve(failure) });
    await fetcher.start();
    const seq = await add("a");
    await expect.poll(() => result(seq)).toEqual({ error: { code: "media_not_fetched", detail: `${code}: x` } });
    expect(exchanged).toHaveLength(1);
  });

  it("is given up at once when the code is too old", async () => {
    const answer: Answer = { kind: "rejected", code: "media_expired", detail: "下载码有误或者已经过期" };
    const { fetcher, add, result, exchanged } = setUp({ exchange: () => Promise.resolve(answer) });
    await fetcher.start();
    const seq = await add("a");
    await expect.poll(() => result(seq)).toEqual({ error: { code: answer.code, detail: answer.detail } });
    expect(exchanged).toEqual(["a"]);
  });

  it.each(["media_too_large", "media_empty", "media_url_refused", "disk_low"] as const)(
    "is given up at once with %s",
    async (code) => {
      const body = async function* (): AsyncIterable<Uint8Array> {
        yield await Promise.resolve(Buffer.from("begun"));
        throw new BridgeError(code, "for a reason");
      };
      const { fetcher, add, result, exchanged, stored } = setUp({ body });
      await fetcher.start();
      const seq = await add("a");
      await expect.poll(() => result(seq)).toEqual({ error: { code, detail: "for a reason" } });
      expect(exchanged).toHaveLength(1);
      expect(stored()).toEqual([]);
    },
  );

  it("is tried three times, then given up with the last reason", async () => {
    const failure: Failure = { kind: "retry", class: "entry", code: "dingtalk_unavailable", detail: "500" };
    const { fetcher, add, result, exchanged } = setUp({ exchange: () => Promise.resolve(failure) });
    await fetcher.start();
    const seq = await add("a");
    await expect
      .poll(() => result(seq))
      .toEqual({ error: { code: "media_not_fetched", detail: "dingtalk_unavailable: 500" } });
    expect(exchanged).toEqual(["a", "a", "a"]);
  });

  it("a throttled exchange is no try: DingTalk's patience is waited for", async () => {
    const failure: Failure = { kind: "retry", class: "peer-away", code: "dingtalk_throttled", afterMs: 2 };
    let asked = 0;
    const { fetcher, add, result } = setUp({
      exchange: (url) => Promise.resolve((asked += 1) <= 10 ? failure : { kind: "done", url }),
    });
    await fetcher.start();
    const seq = await add("a");
    await expect.poll(() => result(seq)).toMatchObject({ media: {} });
    expect(asked).toBe(11);
  });

  it("is there after a try that failed, with a fresh URL for each", async () => {
    let tries = 0;
    const body = (code: string): AsyncIterable<Uint8Array> => {
      tries += 1;
      if (tries < 3) throw new BridgeError("media_not_fetched", "status 403");
      return once(bytesOf(code));
    };
    const { fetcher, add, result, exchanged } = setUp({ body });
    await fetcher.start();
    const seq = await add("a");
    await expect.poll(() => result(seq)).toMatchObject({ media: { bytes: bytesOf("a").byteLength } });
    expect(exchanged).toHaveLength(3);
  });

  it("is cut off at the end of its time, wherever it hangs", async () => {
    const { fetcher, add, result, stored } = setUp(
      {
        exchange: (code, signal) =>
          code === "exchange" ? silentForever(signal) : Promise.resolve({ kind: "done", url: code }),
        body: async function* (_code, signal) {
          yield Buffer.from("begun");
          await silentForever(signal);
        },
      },
      { timings: { tryMs: 20 } },
    );
    await fetcher.start();
    const seq = await add("a", "cidA", ["exchange", "body"]);
    await expect.poll(() => fetcher.isPending(seq)).toBe(false);
    const late = { error: { code: "media_not_fetched", detail: "not there within 20 ms" } };
    expect([result(seq, 0), result(seq, 1)]).toEqual([late, late]);
    expect(stored()).toEqual([]);
  });

  it("is not tried again when the time for all tries is over", async () => {
    const failure: Failure = { kind: "retry", class: "peer-away", code: "dingtalk_unreachable" };
    const { fetcher, add, result, exchanged } = setUp(
      { exchange: () => Promise.resolve(failure) },
      { timings: { delaysMs: [10, 10], spanMs: 5 } },
    );
    await fetcher.start();
    const seq = await add("a");
    await expect.poll(() => result(seq)).toMatchObject({ error: { code: "media_not_fetched" } });
    expect(exchanged).toHaveLength(1);
  });

  it("is not begun while the disk has no room for it", async () => {
    const refusal = (): BridgeError => new BridgeError("disk_low", "the disk is nearly full");
    const { fetcher, add, result, exchanged } = setUp({}, { refusal });
    await fetcher.start();
    const seq = await add("a");
    await expect.poll(() => result(seq)).toEqual({ error: { code: "disk_low", detail: "the disk is nearly full" } });
    expect(exchanged).toEqual([]);
  });
});

describe("a message with files", () => {
  it("waits for all of them, and only it; nobody waits before the door of another lane", async () => {
    const last = Promise.withResolvers<void>();
    const { fetcher, add } = setUp({
      body: async function* (code) {
        if (code === "slow") await last.promise;
        yield bytesOf(code);
      },
    });
    await fetcher.start();
    const seq = await add("both", "cidA", ["quick", "slow"]);
    const wake = vi.fn<() => void>();
    const door = fetcher.admission(lane("cidA"));
    expect(door?.enter(wake)).toBe(false);
    expect(fetcher.admission(lane("cidB"))).toBeUndefined();
    await expect.poll(() => fetcher.isPending(seq)).toBe(true);
    last.resolve();
    await expect.poll(() => wake.mock.calls.length).toBe(1);
    door?.leave(wake);
    expect(fetcher.admission(lane("cidA"))).toBeUndefined();
  });

  it("does not keep back an earlier one of its lane", async () => {
    const { fetcher, add, store } = setUp({ exchange: (_code, signal) => silentForever(signal) });
    await store.append(entry("words", { lane: lane("cidA") }));
    await fetcher.start();
    await add("picture");
    expect(fetcher.admission(lane("cidA"))).toBeUndefined();
  });

  it("keeps its place in the lane, and no worker", async () => {
    const slow = Promise.withResolvers<void>();
    const { fetcher, store, add } = setUp({
      body: async function* (code) {
        await slow.promise;
        yield bytesOf(code);
      },
    });
    await fetcher.start();
    await add("picture");
    await store.append(entry("words", { lane: lane("cidA") }));
    const { runner, names } = run(store, {
      concurrency: 1,
      gate: (name) => fetcher.admission(name),
      work: () => Promise.resolve({ kind: "delivered" }),
      onSettled: ({ id }) => done.push(id),
    });
    const done: string[] = [];
    await runner.start();
    await store.append(entry("elsewhere", { lane: lane("cidB") }));
    runner.changed(lane("cidB"));
    await expect.poll(() => done).toEqual(["main:elsewhere"]);
    slow.resolve();
    await expect.poll(() => done).toEqual(["main:elsewhere", "main:picture", "main:words"]);
    expect(names()).toEqual([]);
  });
});

describe("many files", () => {
  it("so many at a time, and a lane with one does not wait for all of another's", async () => {
    const ends = new Map<string, () => void>();
    const { fetcher, add } = setUp({
      body: async function* (code) {
        await new Promise<void>((resolve) => ends.set(code, resolve));
        yield bytesOf(code);
      },
    });
    await fetcher.start();
    for (let n = 0; n < 100; n += 1) await add(`many ${n}`, "cidA");
    await expect.poll(() => ends.size).toBe(8);
    const seq = await add("one", "cidB");
    expect([...ends.keys()].every((code) => code.startsWith("many"))).toBe(true);
    ends.get("many 3")?.();
    await expect.poll(() => ends.has("one")).toBe(true);
    expect(ends.size).toBe(9);
    ends.get("one")?.();
    await expect.poll(() => fetcher.isPending(seq)).toBe(false);
  });
});

it("what is tried again goes before what its lane has not tried yet", async () => {
  const goOn = Promise.withResolvers<void>();
  const { fetcher, add, exchanged } = setUp(
    {
      exchange: async (url) => {
        if (url === "a" && exchanged.length === 1)
          return { kind: "retry", class: "entry", code: "dingtalk_unavailable" };
        if (url === "b") await goOn.promise;
        return { kind: "done", url };
      },
    },
    { perAccount: 1 },
  );
  await fetcher.start();
  for (const name of ["a", "b", "c"]) await add(name);
  await expect.poll(() => exchanged).toEqual(["a", "b"]);
  // Timers of one length fire in order: the second try of the first waits for its slot now.
  await new Promise((resolve) => setTimeout(resolve, 1));
  goOn.resolve();
  await expect.poll(() => exchanged).toEqual(["a", "b", "a", "c"]);
});

describe("a stop", () => {
  it("cuts off what runs; it is fetched after the next start, oldest first", async () => {
    const store = openStore();
    const first = setUp({ exchange: (_code, signal) => silentForever(signal) }, { store, perAccount: 1 });
    await first.fetcher.start();
    const seqs = [await first.add("a", "cidA"), await first.add("b", "cidB")];
    await expect.poll(() => first.exchanged).toEqual(["a"]);
    await first.fetcher.stop();
    expect(seqs.map((seq) => first.result(seq))).toEqual([undefined, undefined]);
    expect(first.fetcher.admission(lane("cidA"))).toBeUndefined();

    const second = setUp({}, { store, perAccount: 1 });
    await second.fetcher.start();
    await expect.poll(() => second.exchanged).toEqual(["a", "b"]);
    await expect.poll(() => seqs.map((seq) => second.fetcher.isPending(seq))).toEqual([false, false]);
    expect(second.result(seqs[0] ?? 0)).toMatchObject({ media: { account: "main" } });
  });

  it("works before a start and twice, and a start after it works", async () => {
    const { fetcher, add, result } = setUp();
    await fetcher.stop();
    await fetcher.start();
    await fetcher.stop();
    await fetcher.stop();
    const seq = await add("a");
    expect(fetcher.isPending(seq)).toBe(false);
    await fetcher.start();
    await expect.poll(() => result(seq)).toMatchObject({ media: {} });
  });

  it("a file that the process ended at again and again is given up", async () => {
    const { fetcher, store, result, exchanged } = setUp();
    const { seq } = await store.append(entry("deadly", { fetches: [fetchOf("deadly")] }));
    for (let n = 0; n < 6; n += 1) await store.media.fetchBegun(seq, 0);
    await fetcher.start();
    await expect.poll(() => result(seq)).toMatchObject({ error: { code: "media_not_fetched" } });
    expect(exchanged).toEqual([]);
  });
});

describe("what cannot be done just now", () => {
  it("a store that takes no writes is waited for; nothing is fetched twice for it", async () => {
    const { store, db } = openWithHandle();
    const arrived = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const { fetcher, add, result, exchanged } = setUp(
      {
        body: async function* (code) {
          arrived.resolve();
          await goOn.promise;
          yield bytesOf(code);
        },
      },
      { store },
    );
    await fetcher.start();
    const seq = await add("a");
    await arrived.promise;
    db.exec("PRAGMA query_only = 1");
    goOn.resolve();
    await expect.poll(() => store.failure?.code).toBe("store_unavailable");
    expect(fetcher.isPending(seq)).toBe(true);
    db.exec("PRAGMA query_only = 0");
    await expect.poll(() => result(seq)).toMatchObject({ media: {} });
    expect(exchanged).toEqual(["a"]);
  });

  it("files of an account that is not configured stay as they are, and hold nothing up", async () => {
    const { fetcher, add, result } = setUp({}, { api: () => undefined });
    await fetcher.start();
    const seq = await add("a");
    expect([fetcher.isPending(seq), result(seq)]).toEqual([false, undefined]);
    expect(fetcher.admission(lane("cidA"))).toBeUndefined();
  });
});
