import { mkdtempSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { closing, finalise, rest, stream } from "./stream-helpers.ts";
import { crashImage, entry, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";

const COMMITS = 40;

it("a log cut anywhere opens, and holds the first so many commits", { timeout: 60_000 }, async () => {
  const directory = temporaryDirectory();
  const { store, db } = openWithHandle(directory);
  db.exec("PRAGMA wal_autocheckpoint = 0");
  for (let i = 0; i < COMMITS; i += 1) {
    // Two entries a commit: neither may ever be there without the other.
    await Promise.all([`${i}a`, `${i}b`].map((name) => store.append(entry(name, { body: "x".repeat(i * 97) }))));
  }
  const image = crashImage(directory);
  const size = statSync(join(image, "bridge.db-wal")).size;
  // Frames are 24 bytes of header and a page: the steps visit frame ends, headers and pages.
  const offsets = [0, 16, 32, size - 1, size];
  for (let at = 32; at < size; at += 4_120 * 3 + 1_371) offsets.push(at);
  const kept = new Set<number>();
  for (const offset of offsets) {
    const torn = crashImage(image, mkdtempSync(join(image, "cut-")));
    truncateSync(join(torn, "bridge.db-wal"), offset);
    const opened = openStore(torn);
    const { open } = opened.counts("inbox");
    const names = Array.from({ length: COMMITS }, (_, i) => [`main:${i}a`, `main:${i}b`]).flat();
    expect(names.map((id) => opened.find("inbox", id) !== undefined)).toEqual(names.map((_, i) => i < open));
    expect(open % 2).toBe(0);
    expect(await opened.append(entry("later"))).toMatchObject({ duplicate: false });
    await opened.close();
    const raw = new DatabaseSync(join(torn, "bridge.db"));
    expect(raw.prepare("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
    raw.close();
    kept.add(open);
  }
  expect(Math.max(...kept)).toBe(COMMITS * 2);
  expect(Math.min(...kept)).toBe(0);
  expect(kept.size).toBeGreaterThan(COMMITS / 2);
});

it("a log cut anywhere holds a stream's end with its entries, or neither", { timeout: 60_000 }, async () => {
  const directory = temporaryDirectory();
  const { store, db } = openWithHandle(directory);
  db.exec("PRAGMA wal_autocheckpoint = 0");
  const { streams } = store;
  for (let n = 0; n < 8; n += 1) {
    const long = "x".repeat(n * 1_500);
    await streams.add(stream(n));
    await streams.fill(`st_${n}`, { shownText: "half", text: long }, [finalise(n, { body: long })]);
    await streams.close(`st_${n}`, closing({ text: long }), [rest(n, { body: long })]);
  }
  const image = crashImage(directory);
  const size = statSync(join(image, "bridge.db-wal")).size;
  const seen = new Set<string>();
  for (let offset = 0; offset <= size; offset += 4_120 * 2 + 371) {
    const torn = crashImage(image, mkdtempSync(join(image, "cut-")));
    truncateSync(join(torn, "bridge.db-wal"), offset);
    const opened = openStore(torn);
    for (let n = 0; n < 8; n += 1) {
      const row = opened.streams.find(`st_${n}`);
      const entries = [finalise(n), rest(n)].map(({ id }) => opened.find("outbox", id) !== undefined);
      expect(entries).toEqual([(row?.shownText ?? "") !== "", row?.state === "closed"]);
      seen.add(`${row?.state} ${row?.shownText}`);
    }
    await opened.close();
  }
  expect(seen).toEqual(new Set(["undefined undefined", "open ", "open half", "closed half"]));
});
