import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { expect, it, onTestFinished } from "vitest";
import { MediaExpiry } from "../../src/flows/media-expiry.ts";
import { MediaFiles } from "../../src/flows/media-files.ts";
import type { MediaFile } from "../../src/queue/media-store.ts";
import { noise } from "../support/sample-files.ts";
import { entry, openWithHandle, temporaryDirectory } from "../queue/helpers.ts";

const DAY = 24 * 60 * 60_000;
const HOUR = 60 * 60_000;
const KB = 1_024;

/** Real files and rows; the time is what the test says. */
function setUp(options: { maxTotalBytes?: number; lookEveryMs?: number; everyMs?: number } = {}) {
  const directory = join(temporaryDirectory(), "media");
  const { store, db } = openWithHandle();
  const logs = { lines: [] as Record<string, unknown>[] };
  const logger = pino({}, { write: (line) => logs.lines.push(JSON.parse(line) as Record<string, unknown>) });
  const time = { now: 100 * DAY, monotonic: 0 };
  const files = new MediaFiles({ directory, refusal: () => undefined, logger });
  const expiry = new MediaExpiry({
    store: store.media,
    files,
    keepMs: 7 * DAY,
    maxTotalBytes: 1_000 * KB,
    clock: { now: () => time.now, monotonic: () => time.monotonic },
    logger,
    lookEveryMs: 10_000,
    ...options,
  });
  onTestFinished(() => expiry.stop());
  /** Stores a file of that many bytes, so old. */
  const add = async (bytes: number, ageMs = 0): Promise<MediaFile> => {
    async function* source() {
      yield noise(`${bytes} ${ageMs}`, bytes);
    }
    const createdAt = time.now - ageMs;
    const file = await files.write(source(), { account: "main", origin: "inbound", maxBytes: 1e9, createdAt });
    await store.media.add(file);
    return file;
  };
  /** Row and file; both or none. */
  const kept = ({ id }: MediaFile): boolean => {
    const onDisk = existsSync(files.pathOf(id));
    expect(store.media.find(id) !== undefined).toBe(onDisk);
    return onDisk;
  };
  return { directory, store, db, logs, time, files, expiry, add, kept };
}

it("removes what is too old, row and file, and nothing else", async () => {
  const { expiry, add, kept, time, logs } = setUp();
  const old = await add(10, 7 * DAY + 1);
  const young = await add(10, 7 * DAY - 1);
  await expiry.start();
  expect([kept(old), kept(young)]).toEqual([false, true]);
  time.now += 2;
  await expiry.run();
  expect(kept(young)).toBe(false);
  expect(logs.lines.map(({ msg, files }) => [msg, files])).toEqual([
    ["old files deleted", 1],
    ["old files deleted", 1],
  ]);
});

it("removes the oldest when there is too much, but nothing that an open message uses", async () => {
  const { expiry, add, kept, store } = setUp({ maxTotalBytes: 100 * KB });
  const [used, oldest, middle, newest] = await Promise.all([4, 3, 2, 1].map((age) => add(40 * KB, age * HOUR)));
  if (!used || !oldest || !middle || !newest) throw new Error("not written");
  await store.append(entry("m1", { queue: "outbox", media: [used.id], parts: [{}] }));
  await expiry.start();
  expect([used, oldest, middle, newest].map(kept)).toEqual([true, false, false, true]);
});

it("leaves what was stored a moment ago, however much there is: its message is on the way", async () => {
  const { expiry, add, kept, time } = setUp({ maxTotalBytes: 10 * KB });
  const uploaded = await add(40 * KB);
  await expiry.start();
  expect(kept(uploaded)).toBe(true);
  time.now += HOUR;
  await expiry.run();
  expect(kept(uploaded)).toBe(false);
});

it("notices by itself that there is too much", async () => {
  const { expiry, add, kept } = setUp({ maxTotalBytes: 100 * KB, lookEveryMs: 5 });
  await expiry.start();
  const first = await add(60 * KB, 2 * HOUR);
  const second = await add(60 * KB, HOUR);
  await expect.poll(() => kept(first)).toBe(false);
  expect(kept(second)).toBe(true);
});

it("notices by itself that time has passed", async () => {
  const { expiry, add, kept, time } = setUp({ lookEveryMs: 5, everyMs: 600_000 });
  await expiry.start();
  const old = await add(10, 8 * DAY);
  time.monotonic += 600_000;
  await expect.poll(() => kept(old)).toBe(false);
});

it("clears away at the start what a crash left, and leaves what is not its own", async () => {
  const { expiry, add, kept, directory, files, logs } = setUp();
  const known = await add(10);
  const orphan = `m_${"0".repeat(32)}`;
  for (const name of [orphan, `m_${"1".repeat(32)}.part`, "README"]) writeFileSync(join(directory, name), "x");
  await expiry.start();
  expect(readdirSync(directory).toSorted()).toEqual(["README", known.id].toSorted());
  expect(kept(known)).toBe(true);
  expect(logs.lines).toMatchObject([{ msg: "leftover files deleted", files: 2 }]);
  // Only then: later a file is there before its row.
  writeFileSync(files.pathOf(orphan), "x");
  await expiry.run();
  expect(existsSync(files.pathOf(orphan))).toBe(true);
});

it("survives a store that takes no writes, and goes on when it does", async () => {
  const { expiry, add, kept, db, logs } = setUp();
  const old = await add(10, 8 * DAY);
  db.exec("PRAGMA query_only = 1");
  await expiry.start();
  expect(kept(old)).toBe(true);
  expect(logs.lines).toMatchObject([{ msg: "old files could not be deleted" }]);
  db.exec("PRAGMA query_only = 0");
  await expiry.run();
  expect(kept(old)).toBe(false);
});

it("starts twice, stops twice and starts again", async () => {
  const { expiry, add, kept } = setUp();
  await expiry.stop();
  await Promise.all([expiry.start(), expiry.start()]);
  await Promise.all([expiry.stop(), expiry.stop()]);
  const old = await add(10, 8 * DAY);
  await expiry.start();
  expect(kept(old)).toBe(false);
});
