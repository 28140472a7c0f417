import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it, onTestFinished } from "vitest";
import { SCHEMA_VERSION } from "../../src/queue/schema.ts";
import { APP } from "../support/bridge.ts";
import { Daemon } from "../support/daemon.ts";

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "bridge-start-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function daemonOn(dataDir: string): Daemon {
  const daemon = new Daemon({
    HOME: dataDir,
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    // Nobody is there: these starts do not come so far.
    DINGTALK_API_BASE: "http://127.0.0.1:9",
    DINGTALK_OAPI_BASE: "http://127.0.0.1:9",
    BRIDGE_PORT: "0",
    BRIDGE_DATA_DIR: dataDir,
    LOG_LEVEL: "info",
  });
  onTestFinished(() => daemon.kill());
  return daemon;
}

/** Exit status and all that was said. */
async function endOf(daemon: Daemon): Promise<{ status: number | null; said: string }> {
  await daemon.ended();
  return { status: await daemon.stop(), said: daemon.errors.join("\n") };
}

/** No stack, no noise: one sentence and what to do. */
function expectMend(said: string, ...words: string[]): void {
  for (const word of ["mend:", ...words]) expect(said).toContain(word);
  expect(said).not.toMatch(/\bat .*\.ts:\d+/);
}

it("refuses a data directory that it cannot write: 78, with the user that needs it", async () => {
  const file = join(temporaryDirectory(), "a-file");
  writeFileSync(file, "");
  const daemon = daemonOn(join(file, "data"));
  daemon.start();
  const { status, said } = await endOf(daemon);
  expect(status).toBe(78);
  expectMend(said, "BRIDGE_DATA_DIR", `uid ${process.getuid?.()}`);
});

it("refuses the database of a newer release: 78, says which, and leaves it as it is", async () => {
  const directory = temporaryDirectory();
  const file = join(directory, "bridge.db");
  const db = new DatabaseSync(file);
  db.exec(`CREATE TABLE of_the_future (x); PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  db.close();
  const daemon = daemonOn(directory);
  daemon.start();
  const { status, said } = await endOf(daemon);
  expect(status).toBe(78);
  expectMend(
    said,
    "newer release",
    `schema ${SCHEMA_VERSION + 1}`,
    `knows ${SCHEMA_VERSION}`,
    "install the newer release",
  );
  expect(readdirSync(directory).filter((name) => name.includes("backup"))).toEqual([]);
  const after = new DatabaseSync(file, { readOnly: true });
  expect(after.prepare("SELECT name FROM sqlite_schema").all()).toEqual([{ name: "of_the_future" }]);
  after.close();
});

it("refuses a database that is none: 78", async () => {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "bridge.db"), "somebody's notes ".repeat(1_000));
  const daemon = daemonOn(directory);
  daemon.start();
  const { status, said } = await endOf(daemon);
  expect(status).toBe(78);
  expectMend(said, directory);
});

/** A file system that never answers, as a network share that is gone. */
const HANGS = `import fs from "node:fs"; import { syncBuiltinESMExports } from "node:module";
fs.promises.statfs = () => new Promise(() => setInterval(() => {}, 1_000)); syncBuiltinESMExports();`;

it.each([
  ["its deadline", { BRIDGE_SHUTDOWN_DEADLINE: "300ms" }, ["SIGTERM"]],
  ["a second signal", { BRIDGE_SHUTDOWN_DEADLINE: "10m" }, ["SIGTERM", "SIGINT"]],
] as const)("a stop of a start that hangs is cut off by %s: exit 1", async (_, env, signals) => {
  const directory = temporaryDirectory();
  const preload = join(directory, "preload.mjs");
  writeFileSync(preload, HANGS);
  const daemon = daemonOn(directory);
  daemon.start({ nodeArgs: ["--import", preload], env });
  await expect.poll(() => existsSync(join(directory, "bridge.db")), { timeout: 15_000 }).toBe(true);
  for (const signal of signals) {
    daemon.signal(signal);
    await expect.poll(() => daemon.errors.join("\n")).toContain('"msg":"stopping"');
  }
  const { status, said } = await endOf(daemon);
  expect(status).toBe(1);
  expect(said).toContain("stop cut off");
});
