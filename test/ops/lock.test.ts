import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { DataDirectoryLock } from "../../src/ops/lock.ts";

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "bridge-lock-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A process that has the lock until it is killed. */
async function holder(directory: string) {
  const script = `
    import { DataDirectoryLock } from ${JSON.stringify(new URL("../../src/ops/lock.ts", import.meta.url).href)};
    globalThis.lock = new DataDirectoryLock(${JSON.stringify(directory)});
    process.stdout.write("locked");
    setInterval(() => {}, 1_000);`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  const [said] = (await Promise.race([once(child.stdout, "data"), exited])) as unknown[];
  expect(String(said)).toBe("locked");
  return { child, exited };
}

it("refuses a second holder in the same process, until the first lets go", () => {
  const directory = join(temporaryDirectory(), "data");
  const first = new DataDirectoryLock(directory);
  expect(() => new DataDirectoryLock(directory)).toThrow(
    expect.objectContaining({ code: "data_dir_locked", mend: expect.stringContaining("BRIDGE_DATA_DIR") }),
  );
  first.release();
  first.release();
  const second = new DataDirectoryLock(directory);
  second.release();
  expect(statSync(directory).mode & 0o777).toBe(0o700);
});

it("names the process that has it, and is free when that one was killed", async () => {
  const directory = temporaryDirectory();
  const { child, exited } = await holder(directory);
  expect(() => new DataDirectoryLock(directory)).toThrow(
    expect.objectContaining({ code: "data_dir_locked", message: expect.stringContaining(`process ${child.pid}`) }),
  );
  child.kill("SIGKILL");
  await exited;
  new DataDirectoryLock(directory).release();
});

it("another directory is another lock", () => {
  const [one, other] = [temporaryDirectory(), temporaryDirectory()];
  const locks = [new DataDirectoryLock(one)];
  expect(() => locks.push(new DataDirectoryLock(other))).not.toThrow();
  for (const lock of locks) lock.release();
});

it("says that a directory is not usable, and not that it is locked, whatever its name", () => {
  const directory = temporaryDirectory();
  const mend: unknown = expect.stringContaining(`(uid ${process.getuid?.()})`);
  const unusable = expect.objectContaining({ code: "data_dir_unusable", mend });
  writeFileSync(join(directory, "locked"), "");
  expect(() => new DataDirectoryLock(join(directory, "locked", "data"))).toThrow(unusable);
  const other = join(directory, "other");
  new DataDirectoryLock(other).release();
  rmSync(join(other, "bridge.lock"), { force: true });
  writeFileSync(join(other, "bridge.lock"), "no database at all".repeat(100));
  expect(() => new DataDirectoryLock(other)).toThrow(unusable);
});

it("a pid file that cannot be written leaves no lock behind", () => {
  const directory = temporaryDirectory();
  // Not even the superuser writes a directory as a file.
  mkdirSync(join(directory, "bridge.pid"));
  expect(() => new DataDirectoryLock(directory)).toThrow(expect.objectContaining({ code: "data_dir_unusable" }));
  rmdirSync(join(directory, "bridge.pid"));
  new DataDirectoryLock(directory).release();
});
