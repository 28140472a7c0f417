import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, vi } from "vitest";
import { createMetrics } from "../../src/ops/metrics.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { type Conversation, type NewEntry, conversationLane } from "../../src/queue/store.ts";

export const metrics = createMetrics();

/** A directory of its own, removed when the test ends. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "bridge-queue-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function openStore(directory: string = temporaryDirectory()): SqliteStore {
  const store = new SqliteStore({ directory, metrics });
  onTestFinished(() => store.close());
  return store;
}

/** The store, and its handle to make real failures of the file happen. */
export function openWithHandle(directory: string = temporaryDirectory()): { store: SqliteStore; db: DatabaseSync } {
  const held: DatabaseSync[] = [];
  const openFile = (file: string): DatabaseSync => {
    const db = new DatabaseSync(file, { timeout: 0 });
    held.push(db);
    return db;
  };
  const store = new SqliteStore({ directory, metrics, openFile });
  onTestFinished(() => store.close());
  const [db] = held;
  if (!db) throw new Error("the store did not open its file");
  return { store, db };
}

/** What a crash of the process leaves on disk, in a directory of its own: no close, no checkpoint. */
export function crashImage(from: string, to: string = temporaryDirectory()): string {
  for (const name of ["bridge.db", "bridge.db-wal"]) {
    if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name));
  }
  return to;
}

/** An entry whose id, key and body say `name`. */
export function entry(name: string, fields: Partial<NewEntry> = {}): NewEntry {
  return {
    queue: "inbox",
    id: `main:${name}`,
    key: `key:${name}`,
    account: "main",
    lane: conversationLane("main", "cidA"),
    kind: "message",
    body: { name },
    createdAt: 1_000,
    ...fields,
  };
}

export function conversation(fields: Partial<Conversation> = {}): Conversation {
  return {
    account: "main",
    id: "cidA",
    kind: "direct",
    title: undefined,
    staffId: undefined,
    webhook: undefined,
    lastSeen: 1_000,
    ...fields,
  };
}

/** Runs the timers and immediates that are due. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Waits until `check` does not throw. Unlike `vi.waitFor` it leaves fake timers alone. */
export async function until(check: () => void): Promise<void> {
  for (const end = performance.now() + 10_000; performance.now() < end; await turn()) {
    try {
      return check();
    } catch {
      // Not yet.
    }
  }
  check();
}

/** Timers stand still until told; turns of the event loop do not. */
export function holdTimers(): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  // Runs after the runner was stopped, because that is registered later.
  onTestFinished(() => {
    const left = vi.getTimerCount();
    vi.useRealTimers();
    expect(left).toBe(0);
  });
}
