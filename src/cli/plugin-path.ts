import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { BridgeError } from "../app.ts";

/**
 * Where the OpenClaw plugin of this release lies, for `openclaw plugins install`: the packed one of the npm package and the image, else
 * the folder of a clone. `root`: directory of the package. Throws BridgeError `not_found`.
 */
export function pluginPath(root: string): string {
  const folder = join(root, "openclaw-plugin");
  const manifest = join(folder, "package.json");
  if (existsSync(manifest)) {
    const { name, version } = JSON.parse(readFileSync(manifest, "utf8")) as { name: string; version: string };
    const packed = join(root, "dist", "openclaw-plugin", `${name}-${version}.tgz`);
    if (existsSync(packed)) return packed;
    if (existsSync(join(folder, "openclaw.plugin.json"))) return folder;
  }
  throw new BridgeError("not_found", `the OpenClaw plugin is not in ${root}`, {
    mend: "install dingtalk-bridge again; in a clone of the repository it is the folder openclaw-plugin",
  });
}
