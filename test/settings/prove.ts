/**
 * Proves the proofs: runs the test that proofs.ts names for each setting on a copy of the bridge that ignores this setting, which has
 * to fail, and on the bridge as it is, which has to pass. `npm run test:settings`, or `npm run test:settings -- token log.level` for
 * some. Ends with status 1 when a test proves nothing.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { PROOFS, type Proof } from "./proofs.ts";

const ROOT = join(import.meta.dirname, "../..");
const COPIED = ["src", "test", "config", "package.json", "vitest.config.ts"];
const READS = "for (const { path, setting } of listSettings()) {\n";
/** A copy that ignores where DingTalk is must not ask the real one. */
const NOWHERE = "http://127.0.0.1:9";

const run = promisify(execFile);
const wanted = process.argv.slice(2);
const proofs = PROOFS.filter(({ path }) => wanted.length === 0 || wanted.includes(path));
const copy = mkdtempSync(join(tmpdir(), "bridge-settings-"));

interface Result {
  passed: number;
  failed: number;
}

/** Runs the tests of one file whose titles begin so. */
async function results(file: string, titles: readonly string[]): Promise<Result> {
  const outputFile = join(copy, "report.json");
  rmSync(outputFile, { force: true });
  const pattern = titles.map((title) => title.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&")).join("|");
  const vitest = join(copy, "node_modules/vitest/vitest.mjs");
  const args = [vitest, "run", file, "-t", pattern, "--reporter=json", "--outputFile", outputFile];
  // A run with a failure ends with status 1: the report says what it was.
  await run(process.execPath, args, { cwd: copy, maxBuffer: 64 * 1_024 * 1_024 }).catch(() => undefined);
  const report = JSON.parse(readFileSync(outputFile, "utf8")) as { numPassedTests: number; numFailedTests: number };
  return { passed: report.numPassedTests, failed: report.numFailedTests };
}

function write(file: string, change: (text: string) => string): void {
  const before = readFileSync(join(ROOT, file), "utf8");
  const after = change(before);
  if (after === before) throw new Error(`${file} does not look as it did: mend test/settings/prove.ts`);
  writeFileSync(join(copy, file), after);
}

/** The copy's bridge as it is, or ignoring one setting wherever it stands. */
function ignore(path: string | undefined): void {
  const source = "src/config.ts";
  if (path === undefined) return cpSync(join(ROOT, source), join(copy, source));
  write(source, (text) => text.replace(READS, `${READS}    if (path === ${JSON.stringify(path)}) continue;\n`));
}

async function prove({ path, file, title }: Proof): Promise<boolean> {
  ignore(path);
  const { passed, failed } = await results(file, [title]);
  const isProved = failed > 0;
  const how = passed + failed === 0 ? "no test ran" : "its test passes although the bridge ignores it";
  console.log(isProved ? `ok      ${path}` : `NOT OK  ${path}: ${how} (${file}: ${title})`);
  return isProved;
}

try {
  for (const name of COPIED) {
    mkdirSync(dirname(join(copy, name)), { recursive: true });
    cpSync(join(ROOT, name), join(copy, name), {
      recursive: true,
      filter: (from) => basename(from) !== "node_modules",
    });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  write("src/config-schema.ts", (text) => text.replaceAll(/"https:\/\/o?api\.dingtalk\.com"/g, `"${NOWHERE}"`));
  let bad = 0;
  for (const [file, group] of Map.groupBy(proofs, (proof) => proof.file)) {
    ignore(undefined);
    const asIs = await results(
      file,
      group.map(({ title }) => title),
    );
    if (asIs.failed > 0 || asIs.passed === 0) {
      console.log(`NOT OK  ${file}: ${asIs.passed} passed, ${asIs.failed} failed on the bridge as it is`);
      bad += 1;
    }
    for (const proof of group) bad += (await prove(proof)) ? 0 : 1;
  }
  console.log(`${proofs.length} settings, ${bad} not proved`);
  process.exitCode = bad === 0 ? 0 : 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
