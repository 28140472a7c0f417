/**
 * Writes every generated file; with `--check` writes nothing and fails when one differs from the code.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { withHelp } from "./generators/cli-help.ts";
import { accountsExample, configurationMarkdown, defaultJson5, envExample } from "./generators/config-docs.ts";
import { envelopeJsonSchema } from "./generators/envelope-schema.ts";
import { metricsDocs } from "./generators/metrics-docs.ts";
import { openApiDocument } from "./generators/openapi.ts";

const FILES: Record<string, () => string | Promise<string>> = {
  "config/default.json5": defaultJson5,
  "config/example.accounts.json5": accountsExample,
  ".env.example": envExample,
  "docs/configuration.md": configurationMarkdown,
  "docs/cli.md": withHelp("docs/cli.md"),
  "docs/cli.zh-CN.md": withHelp("docs/cli.zh-CN.md"),
  "docs/metrics.md": metricsDocs,
  "docs/generated/envelope.schema.json": () => `${JSON.stringify(envelopeJsonSchema(), null, 2)}\n`,
  "docs/generated/openapi.json": openApiDocument,
};

const check = process.argv.includes("--check");
const stale: string[] = [];
for (const [file, generate] of Object.entries(FILES)) {
  const path = new URL(`../${file}`, import.meta.url);
  const text = await generate();
  if (current(path) === text) continue;
  if (check) stale.push(file);
  else {
    mkdirSync(dirname(path.pathname), { recursive: true });
    writeFileSync(path, text);
    console.log(`written: ${file}`);
  }
}
if (stale.length > 0) {
  console.error(`not as the code says: ${stale.join(", ")}\nrun: npm run generate`);
  process.exitCode = 1;
}

function current(path: URL): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
