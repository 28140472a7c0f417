import { execFileSync } from "node:child_process";
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { cpus, loadavg, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { quantile } from "./report.ts";

/** What the numbers depend on. */
export function printMachine(): void {
  const sqlite = new DatabaseSync(":memory:").prepare("SELECT sqlite_version() AS v").get()?.["v"];
  const directory = mkdtempSync(join(tmpdir(), "bridge-bench-"));
  const device = execFileSync("df", ["--output=source,fstype", directory]).toString().trim().split("\n").at(-1);
  const fsync = fsyncTimes(directory);
  rmSync(directory, { recursive: true });
  console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`);
  console.log(`Node ${process.version}, SQLite ${String(sqlite)}, ${execFileSync("uname", ["-sr"]).toString().trim()}`);
  console.log(
    `data on ${device?.replaceAll(/\s+/g, " ")}; write + fsync of 4 KiB: p50 ${quantile(fsync, 0.5).toFixed(2)} ms, ` +
      `p99 ${quantile(fsync, 0.99).toFixed(2)} ms`,
  );
  const load = loadavg()[0] ?? 0;
  const busy = load > 0.5 ? "  (something else runs on this machine: times are too high)" : "";
  console.log(`load average before the start: ${load.toFixed(2)}${busy}`);
}

function fsyncTimes(directory: string): number[] {
  const file = openSync(join(directory, "probe"), "w");
  const block = Buffer.alloc(4_096);
  const times = Array.from({ length: 200 }, () => {
    const began = performance.now();
    writeSync(file, block);
    fsyncSync(file);
    return performance.now() - began;
  });
  closeSync(file);
  return times;
}
