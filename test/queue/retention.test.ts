import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it, onTestFinished } from "vitest";
import { Retention } from "../../src/flows/retention.ts";
import type { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { conversation, entry, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";
import { silent } from "./runner.ts";

const DAY = 86_400_000;
const MB = 1024 * 1024;
const keep = { messagesMs: 7 * DAY, settledMs: 7 * DAY, deadMs: 30 * DAY, conversationsMs: 180 * DAY };

function retention(store: SqliteStore, clock: { at: number }, clockOffsets?: () => number[]): Retention {
  return new Retention({
    store,
    clock: { now: () => clock.at, monotonic: () => 0 },
    logger: silent,
    keep,
    ...(clockOffsets && { clockOffsets }),
  });
}

const sizeOf = (directory: string, name: "bridge.db" | "bridge.db-wal"): number => {
  const file = join(directory, name);
  return existsSync(file) ? statSync(file).size : 0;
};

/** Messages in and out, as the flows leave them; one in a hundred ends as a dead letter. */
async function day(store: SqliteStore, number: number, messages: number, body: string): Promise<void> {
  const at = number * DAY;
  for (let first = 0; first < messages; first += 250) {
    await Promise.all(
      Array.from({ length: Math.min(250, messages - first) }, async (_, i) => {
        const n = first + i;
        const name = `${number}-${n}`;
        const queue = n % 2 === 0 ? "inbox" : "outbox";
        const lane = `main\ncid${n % 50}`;
        const parts = queue === "outbox" ? { parts: [{ type: "text", text: body }] } : {};
        const { seq } = await store.append(
          entry(name, { queue, lane, body: { text: body }, createdAt: at, ...parts }),
          queue === "inbox" ? conversation({ id: `cid${n % 50}`, lastSeen: at }) : undefined,
        );
        await store.begin(seq);
        if (n % 100 < 2) await store.settle(seq, { state: "dead", at, error: { code: "rejected", detail: "" } });
        else await store.settle(seq, { state: "delivered", at });
      }),
    );
  }
}

it("two months of 2,000 messages a day: the file stops growing when the retention begins to delete", async () => {
  const directory = temporaryDirectory();
  const { store, db } = openWithHandle(directory);
  const clock = { at: 0 };
  const service = retention(store, clock);
  const sizes: number[] = [];
  for (let n = 0; n < 62; n += 1) {
    clock.at = n * DAY;
    await day(store, n, 2_000, "一条普通的消息，不长也不短。".repeat(4));
    await service.run();
    sizes.push(sizeOf(directory, "bridge.db"));
    expect(sizeOf(directory, "bridge.db-wal")).toBeLessThan(64 * MB);
  }
  const rows = (state: string): unknown =>
    db.prepare("SELECT count(*) AS n FROM entries WHERE state = ?").get(state)?.["n"];
  expect([rows("delivered"), rows("dead")]).toEqual([8 * 1_960, 31 * 40]);
  const largest = (from: number, to: number): number => Math.max(...sizes.slice(from, to));
  // Day 8: settled entries are deleted; dead letters, two in a hundred, go on collecting until day 31.
  expect(largest(9, 31)).toBeLessThan(largest(7, 9) * 1.2);
  expect(largest(32, 62)).toBeLessThan(largest(24, 32) * 1.02);
}, 60_000);

it("one very busy day leaves the disk again when it is forgotten", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  const clock = { at: 0 };
  const service = retention(store, clock);
  await day(store, 0, 10_000, "x".repeat(5_000));
  const grown = sizeOf(directory, "bridge.db");
  expect(grown).toBeGreaterThan(50 * MB);
  clock.at = 8 * DAY;
  await service.run();
  expect(sizeOf(directory, "bridge.db")).toBeLessThan(grown / 2);
  await day(store, 8, 1_000, "x");
  clock.at = 39 * DAY;
  await service.run();
  expect(sizeOf(directory, "bridge.db")).toBeLessThan(24 * MB);
  expect(store.counts("inbox")).toMatchObject({ open: 0, dead: 0 });
});

it("the WAL stays small under a long load, also after somebody from outside has held it for a while", async () => {
  const directory = temporaryDirectory();
  const store = openStore(directory);
  const load = (from: number): Promise<void> => day(store, from, 4_000, "x".repeat(2_000));
  await load(0);
  expect(sizeOf(directory, "bridge.db-wal")).toBeLessThan(16 * MB);
  const reader = new DatabaseSync(join(directory, "bridge.db"), { readOnly: true });
  onTestFinished(() => {
    if (reader.isOpen) reader.close();
  });
  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM entries").get();
  await load(1);
  await load(2);
  await load(3);
  expect(sizeOf(directory, "bridge.db-wal")).toBeGreaterThan(32 * MB);
  reader.close();
  await load(4);
  expect(sizeOf(directory, "bridge.db-wal")).toBeLessThan(33 * MB);
});

it("keeps each kind as long as it should: keys 7 days, dead letters 30, conversations 180, webhooks until they expire", async () => {
  const store = openStore();
  const clock = { at: 0 };
  const offset = { ms: 0 };
  const service = retention(store, clock, () => [offset.ms, 50]);
  const webhook = { url: "https://oapi.dingtalk.com/robot/sendBySession?session=1", expiresAt: 5_000 };
  const done = await store.append(entry("done", { createdAt: 0 }), conversation({ lastSeen: 0, webhook }));
  await store.settle(done.seq, { state: "delivered", at: 0 });
  const lost = await store.append(entry("lost", { createdAt: 0 }));
  await store.settle(lost.seq, { state: "dead", at: 0, error: { code: "rejected", detail: "" } });
  await store.append(entry("open", { createdAt: 0 }));
  const left = async (at: number): Promise<unknown[]> => {
    clock.at = at;
    await service.run();
    const known = store.conversation("main", "cidA");
    return [
      ...["done", "lost", "open"].filter((name) => store.find("inbox", `main:${name}`)),
      known && (known.webhook ? "webhook" : "conversation"),
    ];
  };
  expect(await left(5_000)).toEqual(["done", "lost", "open", "webhook"]);
  // By DingTalk's clock, where it is behind ours.
  offset.ms = -60_000;
  expect(await left(5_001)).toEqual(["done", "lost", "open", "webhook"]);
  expect(await left(65_001)).toEqual(["done", "lost", "open", "conversation"]);
  expect(await left(7 * DAY)).toEqual(["done", "lost", "open", "conversation"]);
  expect(await left(7 * DAY + 1)).toEqual(["lost", "open", "conversation"]);
  expect(await left(30 * DAY + 1)).toEqual(["open", "conversation"]);
  expect(await left(180 * DAY + 1)).toEqual(["open", undefined]);
  // Its repetition is a new message now.
  expect(await store.append(entry("done"))).toMatchObject({ duplicate: false });
});

it("makes a round at the start, one at a time, and goes on after one that failed", async () => {
  const rounds: PromiseWithResolvers<number>[] = [];
  const service = new Retention({
    store: {
      purge: () => {
        const round = Promise.withResolvers<number>();
        rounds.push(round);
        return round.promise;
      },
      wipe: () => Promise.resolve({ rows: 0, before: 0 }),
      compact: () => true,
      emptyLog: () => true,
    },
    clock: { now: () => 0, monotonic: () => 0 },
    logger: silent,
    keep,
  });
  const started = service.start();
  const again = service.run();
  expect(rounds).toHaveLength(1);
  rounds[0]?.reject(new Error("the disk is full"));
  await Promise.all([started, again]);
  const next = service.run();
  expect(rounds).toHaveLength(2);
  rounds[1]?.resolve(3);
  await next;
  await Promise.all([service.stop(), service.stop()]);
});
