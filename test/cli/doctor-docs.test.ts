import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { CHECKS, FINDING_CODES } from "../../src/domain/finding.ts";

it.each(["docs/doctor.md", "docs/doctor.zh-CN.md"])("%s explains every code and every check", (page) => {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), "utf8");
  const rows = text.split("\n").filter((line) => line.startsWith("|"));
  const first = new Set(
    rows.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`([a-z_]+)`/g)].map(([, name]) => name)),
  );
  expect([...FINDING_CODES, ...CHECKS].filter((name) => !first.has(name))).toEqual([]);
});
