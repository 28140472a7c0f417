import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const { version, engines } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  version: string;
  engines: { node: string };
};

/** The command under a Node.js that says to be of that version. */
function run(node: string): { status: number | null; stdout: string; stderr: string } {
  const pretend = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${node}" } })`;
  return spawnSync(
    process.execPath,
    ["--import", `data:text/javascript,${encodeURIComponent(pretend)}`, join(ROOT, "src/bin.ts"), "--version"],
    { encoding: "utf8" },
  );
}

it.each(["18.20.4", "20.20.2", "22.22.0", "24.15.9"])("one sentence under Node.js %s, and status 78", (node) => {
  const { status, stdout, stderr } = run(node);
  expect({ status, stdout }).toEqual({ status: 78, stdout: "" });
  expect(stderr).toMatch(/^dingtalk-bridge needs Node\.js 24\.16 or later; this is [\d.]+ \(.*\)\. Install .*\n$/);
  expect(engines.node).toBe(">=24.16");
});

it.each(["24.16.0", "25.0.0", "26.1.0"])("runs under Node.js %s", (node) => {
  expect(run(node)).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: "" });
});

it("a closed standard error changes nothing of what it does, nor the status", () => {
  const script = '{ sleep 0.5; "$0" "$1" fly; echo "$?" >&3; } 3>&1 >/dev/null 2> >(exec true)';
  const { stdout } = spawnSync("bash", ["-c", script, process.execPath, join(ROOT, "src/bin.ts")], {
    encoding: "utf8",
  });
  expect(stdout).toBe("64\n");
});
