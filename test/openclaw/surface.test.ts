import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { release } from "./support/release.ts";

const SOURCE = join(import.meta.dirname, "..", "..", "openclaw-plugin", "src");
const SDK = join(release().folder, "node_modules", "openclaw", "dist", "plugin-sdk");

/** What the plugin's source imports from OpenClaw, types left out: `<subpath>#<name>`. */
function importsOf(pattern: RegExp): string[] {
  const sources = readdirSync(SOURCE).filter((name) => name.endsWith(".ts"));
  const found = sources.flatMap((name) => [...readFileSync(join(SOURCE, name), "utf8").matchAll(pattern)]);
  const all = found.flatMap(([, names, subpath]) =>
    names!
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "" && !name.startsWith("type "))
      .map((name) => `${subpath}#${name}`),
  );
  return [...new Set(all)].toSorted();
}

/** Loaded in a process of its own, which ends whatever OpenClaw has begun. */
function missing(imports: string[]): string[] {
  const script = `
    const missing = [];
    for (const one of ${JSON.stringify(imports)}) {
      const [subpath, name] = one.split("#");
      const module = await import(${JSON.stringify(SDK)} + "/" + subpath + ".js").catch(() => ({}));
      if (typeof module[name] !== "function") missing.push(one);
    }
    process.stdout.write(JSON.stringify(missing), () => process.exit(0));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  try {
    return JSON.parse(stdout) as string[];
  } catch {
    throw new Error(`no answer: ${stderr}`);
  }
}

/** Guarded imports that a release does not have, by subpath and name: what it costs is in README.md. */
const KNOWN_TO_LACK: Readonly<Record<string, string[]>> = {
  "2026.7.35": ["channel-dm-policy#createChannelDmPolicy", "error-runtime#PlatformMessageNotDispatchedError"],
  "2026.6.11": ["channel-dm-policy#createChannelDmPolicy", "error-runtime#PlatformMessageNotDispatchedError"],
};

describe("the part of OpenClaw's SDK that the plugin imports", () => {
  const needed = importsOf(/^import \{([^}]*)\} from "openclaw\/plugin-sdk\/([^"]+)"/gm);
  const guarded = importsOf(/const \{([^}]*)\} = await import\("openclaw\/plugin-sdk\/([^"]+)"\)/g);
  let lacking: string[];

  beforeAll(() => {
    lacking = missing([...needed, ...guarded]);
  });

  test("without which it does not load", () => {
    expect(needed).toContain("channel-core#defineChannelPluginEntry");
    expect(lacking.filter((one) => needed.includes(one))).toEqual([]);
  });

  test("without which it does less", () => {
    expect(guarded).toContain("plugin-runtime#getGlobalHookRunner");
    expect(lacking.filter((one) => guarded.includes(one))).toEqual(KNOWN_TO_LACK[release().version] ?? []);
  });
});
