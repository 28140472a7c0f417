import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

/*
 * npm run plugin:pack: builds the OpenClaw plugin and packs it into dist/openclaw-plugin/<name>-<version>.tgz, for `openclaw plugins install`.
 * OpenClaw takes JavaScript only from a package, and TypeScript from a folder: so the packed package.json names the built entry.
 */
const root = join(import.meta.dirname, "..");
const source = join(root, "openclaw-plugin");
const target = join(root, "dist", "openclaw-plugin");

interface Manifest {
  scripts?: unknown;
  openclaw: { extensions: string[]; setupEntry: string };
}

function run(command: string, args: string[], cwd: string): void {
  const { status, error, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed: ${error?.message ?? stderr}`);
}

const staging = mkdtempSync(join(tmpdir(), "dingtalk-bridge-plugin-"));
try {
  const tsc = join(root, "node_modules", ".bin", "tsc");
  run(tsc, ["-p", join(source, "tsconfig.build.json"), "--outDir", join(staging, "dist")], root);
  for (const file of ["openclaw.plugin.json", "README.md"]) cpSync(join(source, file), join(staging, file));
  cpSync(join(root, "LICENSE"), join(staging, "LICENSE"));
  const { scripts: _scripts, ...manifest } = JSON.parse(readFileSync(join(source, "package.json"), "utf8")) as Manifest;
  const packed = {
    ...manifest,
    files: ["dist", "openclaw.plugin.json", "README.md"],
    openclaw: { ...manifest.openclaw, extensions: ["./dist/index.js"], setupEntry: "./dist/setup-entry.js" },
  };
  writeFileSync(join(staging, "package.json"), `${JSON.stringify(packed, null, 2)}\n`);

  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  run("npm", ["pack", "--silent", "--pack-destination", target], staging);
  const [file] = readdirSync(target);
  console.log(relative(process.cwd(), join(target, file ?? "")));
} finally {
  rmSync(staging, { recursive: true, force: true });
}
