import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { ROOT } from "./files.ts";

it("the npm package holds what runs and what explains it, and nothing else", () => {
  // Whatever lies in dist/ at this moment is not the question; no script builds it here.
  const answer = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const parsed = JSON.parse(answer) as Record<string, { files: { path: string }[] }>;
  const files = (Object.values(parsed)[0]?.files ?? []).map(({ path }) => path);
  const around = files.filter((path) => !path.startsWith("dist/"));
  expect(around).toContain("deploy/systemd/dingtalk-bridge.service");
  expect(around).toContain("openclaw-plugin/package.json");
  expect(around).toContain(".env.example");
  expect(around).toContain("docs/operations.md");
  const allowed =
    /^(docs\/|config\/|deploy\/systemd\/|openclaw-plugin\/package\.json$|[^/]+\.(json|md)$|LICENSE$|\.env\.example$)/;
  expect(around.filter((path) => !allowed.test(path))).toEqual([]);
});
