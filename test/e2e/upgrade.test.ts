import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it, onTestFinished } from "vitest";
import { SCHEMA_VERSION } from "../../src/queue/schema.ts";
import { startBridge } from "../support/bridge.ts";

const FIXTURES = new URL("../fixtures/upgrade/", import.meta.url).pathname;
const fixture = (version: number): string => join(FIXTURES, `schema-${version}.db`);
const versions = Array.from({ length: SCHEMA_VERSION - 1 }, (_, n) => n + 1);

/** What a query gives of a database file. */
function rowsOf(file: string, sql: string): Record<string, unknown>[] {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    return db.prepare(sql).all();
  } finally {
    db.close();
  }
}

/** Our clock as if the bridge that left the file had been stopped a minute ago: nothing of it is too old, or deleted. */
function clockOf(file: string): { now: () => number; monotonic: () => number } {
  const last = Number(rowsOf(file, "SELECT max(created_at) AS at FROM entries")[0]?.["at"]);
  const offset = last + 60_000 - Date.now();
  return { now: () => Date.now() + offset, monotonic: () => performance.now() };
}

it.each(versions)(
  "schema %i: is backed up and brought up to date, and what waited in it is delivered",
  async (version) => {
    const file = fixture(version);
    const bridge = await startBridge({
      prepare: (dataDir) => copyFileSync(file, join(dataDir, "bridge.db")),
      overrides: { clock: clockOf(file), replyTimings: { graceMs: 200 } },
    });
    onTestFinished(() => bridge.close());
    const taken = () =>
      bridge.gateway.taken.map((envelope) => (envelope.type === "message" ? envelope.message.text : envelope.type));
    const backup = join(bridge.dataDir, `bridge.schema-${version}.backup.db`);
    expect(existsSync(backup)).toBe(true);
    expect(rowsOf(backup, "PRAGMA user_version")).toEqual([{ user_version: version }]);

    await expect.poll(() => taken().toSorted()).toEqual(["still waits", "waits in the group"]);
    await expect
      .poll(() => bridge.dingtalk.sent.map(({ text }) => text), { timeout: 10_000 })
      .toEqual(expect.arrayContaining(["reply that waits", expect.stringContaining("still waits")]));
    const dead = await bridge.api("GET", "/v1/dead-letters");
    expect(await dead.json()).toMatchObject({
      deadLetters: [{ error: { code: "recipient_unknown" } }, { error: { code: "rejected" } }],
    });

    // What is new in later schemas works with the old rows.
    await (await bridge.dingtalk.say({ text: "after the upgrade" })).acked();
    await expect.poll(taken).toContain("after the upgrade");
    const { quota } = (await (await bridge.api("GET", "/v1/status")).json()) as { quota: { organisations: unknown[] } };
    expect(quota.organisations).toHaveLength(1);
    await expect.poll(() => bridge.app.health().status).toBe("ok");
  },
);

it("there is a file for every schema before this one", () => {
  expect(versions.filter((version) => !existsSync(fixture(version)))).toEqual([]);
});
