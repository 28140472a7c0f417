import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BridgeError } from "../app.ts";
import { type CliCommand, EXIT } from "./command.ts";

export const pluginPathCommand: CliCommand = {
  name: "plugin-path",
  summary: "print where the OpenClaw plugin of this release is",
  description: "Prints the packed plugin that came with this release, or the plugin's folder in a clone.",
  examples: [['openclaw plugins install --force "$(dingtalk-bridge plugin-path)"', "install it in OpenClaw"]],
  run({ context }) {
    // As installed, or the clone: this file lies two levels below.
    context.stdout.write(`${pluginPath(fileURLToPath(new URL("../..", import.meta.url)))}\n`);
    return Promise.resolve(EXIT.ok);
  },
};

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
