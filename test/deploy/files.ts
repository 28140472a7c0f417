import { readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");

export const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

/** The instructions of a Dockerfile, continued lines joined: `["FROM", "${NODE_IMAGE} AS build"]`. */
export function instructions(file: string): [string, string][] {
  const lines = read(file)
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .join("\n")
    .replaceAll(/\\\n\s*/g, " ")
    .split("\n");
  return lines
    .filter((line) => line.trim() !== "")
    .map((line) => [line.split(" ")[0] ?? "", line.replace(/^\S+ /, "")]);
}
