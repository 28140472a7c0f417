import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { pluginPath } from "../../src/cli/plugin-path.ts";

const ROOT = join(import.meta.dirname, "../..");
const PACKED = "dist/openclaw-plugin/openclaw-channel-dingtalk-bridge-9.8.7.tgz";

/** A package with these files. */
function packageWith(...files: string[]): string {
  const root = mkdtempSync(join(tmpdir(), "plugin-path-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), JSON.stringify({ name: "openclaw-channel-dingtalk-bridge", version: "9.8.7" }));
  }
  return root;
}

it("is the packed plugin of this version where there is one, in a clone as well", () => {
  const shipped = packageWith("openclaw-plugin/package.json", PACKED);
  expect(pluginPath(shipped)).toBe(join(shipped, PACKED));
  const clone = packageWith("openclaw-plugin/package.json", "openclaw-plugin/openclaw.plugin.json", PACKED);
  expect(pluginPath(clone)).toBe(join(clone, PACKED));
});

it("is the folder of a clone, also beside a plugin that was packed for another version", () => {
  const files = ["openclaw-plugin/package.json", "openclaw-plugin/openclaw.plugin.json"];
  for (const clone of [packageWith(...files), packageWith(...files, PACKED.replace("9.8.7", "9.8.6"))]) {
    expect(pluginPath(clone)).toBe(join(clone, "openclaw-plugin"));
  }
});

it.each([[[]], [["openclaw-plugin/package.json"]]])("says how to get it where it is missing: %j", (files) => {
  const mend = expect.stringContaining("install dingtalk-bridge again");
  expect(() => pluginPath(packageWith(...files))).toThrow(expect.objectContaining({ code: "not_found", mend }));
});

it("is printed alone, and leads to a plugin for OpenClaw", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, "src/main.ts"), "plugin-path"]);
  expect(stdout).toBe(`${pluginPath(ROOT)}\n`);
  expect(stdout).toMatch(/openclaw-plugin\n$|openclaw-channel-dingtalk-bridge-[\d.]+\.tgz\n$/);
});

it("is in what npm publishes", async () => {
  const root = packageWith("openclaw-plugin/package.json", "openclaw-plugin/openclaw.plugin.json", PACKED);
  for (const name of ["package.json", ".gitignore"]) copyFileSync(join(ROOT, name), join(root, name));
  const pack = ["pack", "--dry-run", "--json", "--ignore-scripts", "--offline"];
  const { stdout } = await promisify(execFile)("npm", pack, { cwd: root });
  const [packed] = Object.values(JSON.parse(stdout) as Record<string, { files: { path: string }[] }>);
  const paths = packed?.files.map(({ path }) => path);
  expect(paths).toEqual(expect.arrayContaining([PACKED, "openclaw-plugin/package.json"]));
});
