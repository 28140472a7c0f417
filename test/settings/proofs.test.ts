import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { listSettings } from "../../src/config-schema.ts";
import { PROOFS } from "./proofs.ts";

const ROOT = join(import.meta.dirname, "../..");
/** What is read here says nothing about what the bridge does. */
const NO_BEHAVIOUR = /^test\/(?!config\/)(?!cli\/).+\.test\.ts$/;

const settings = new Map(listSettings().map(({ path, setting }) => [path, setting]));

/** The file without comments: a setting that only a comment names is not set. */
const codeOf = (file: string): string =>
  readFileSync(join(ROOT, file), "utf8")
    .replaceAll(/\/\*[\s\S]*?\*\//g, "")
    .replaceAll(/^\s*\/\/.*$/gm, "");

it("every setting has one test that proves what it does, and no proof is of a setting that is gone", () => {
  expect(PROOFS.map(({ path }) => path).toSorted()).toEqual([...settings.keys()].toSorted());
});

describe.each(PROOFS)("$path", ({ path, file, title }) => {
  it("is proved by a test of behaviour that is there, and that sets it", () => {
    expect(file).toMatch(NO_BEHAVIOUR);
    expect(existsSync(join(ROOT, file)), file).toBe(true);
    const code = codeOf(file);
    const titles = ['"', "`"].map((quote) => `${quote}${title}`);
    expect(
      titles.filter((one) => code.split(one).length === 2),
      `${file}: ${title}`,
    ).toHaveLength(1);
    // As a variable that is given, not in a title.
    const { env, aliases = [] } = settings.get(path) ?? { env: path };
    const given = [env, ...aliases].map((name) => new RegExp(`\\b${name}\\b["']?\\s*[:\\]]\\s*[^\\s]`));
    const isGiven = code
      .split("\n")
      .some((line) => !/^\s*(it|test|describe)\b/.test(line) && given.some((one) => one.test(line)));
    expect(isGiven, `${file} gives no ${env}`).toBe(true);
  });
});
