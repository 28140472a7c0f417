/**
 * What the documentation says about the repository must be so: `npm run docs:check`. Lists everything that is not, and ends
 * with status 1 then.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import JSON5 from "json5";
import { Value } from "typebox/value";
import { listSettings } from "../src/config-schema.ts";
import { ACCOUNT_FIELDS, FILE_VARIABLES } from "../src/config-variables.ts";
import { EnvelopeSchema } from "../src/domain/envelope.ts";
import { type Page, readPage } from "./docs-page.ts";

const ROOT = join(import.meta.dirname, "..");
const CHINESE = ".zh-CN.md";
/** Not Markdown, but they name variables too. */
const DEPLOYMENT = ["Dockerfile", "docker-compose.yml", "deploy/**/*.{service,yml,Dockerfile,sh,mjs}"];
/** Made by the release tool from change notes, which speak of what was true then. */
const HISTORY = ["CHANGELOG.md", ".changeset/**"];

const problems: string[] = [];
const complain = (file: string, text: string): void => void problems.push(`${file}: ${text}`);

const files = list("**/*.md", ".changeset/*.md");
const pages = new Map(files.map((file) => [file, readPage(read(file))]));
const current = [...pages].filter(([file]) => !list(...HISTORY).includes(file));

for (const [file, page] of pages) {
  checkLinks(file, page);
  if (file.endsWith(CHINESE)) comparePair(file.replace(CHINESE, ".md"), file);
}
for (const [file, page] of current) {
  checkScripts(file, page);
  checkCalls(file, page);
  checkCodes(file, page);
  checkExamples(file, page);
}
for (const file of [...current.map(([name]) => name), ...list(...DEPLOYMENT)]) checkVariables(file);

if (problems.length > 0) {
  console.error(`${problems.join("\n")}\nproblems: ${problems.length}`);
  process.exitCode = 1;
} else console.log(`${files.length} pages are as the repository says`);

/** A page and its Chinese sibling: same outline, same code, same links. */
function comparePair(english: string, chinese: string): void {
  const [one, other] = [pages.get(english), pages.get(chinese)];
  if (!one || !other) return complain(chinese, `${english} is missing`);
  const outline = (page: Page): string[] => page.headings.map(({ level }) => "#".repeat(level));
  const links = (page: Page, file: string): string[] => page.links.map((link) => neutral(link, file)).toSorted();
  same(chinese, "headings", outline(one), outline(other));
  same(
    chinese,
    "code blocks",
    one.blocks.map(({ text }) => text),
    other.blocks.map(({ text }) => text),
  );
  same(chinese, "links", links(one, english), links(other, chinese));
  same(chinese, "table rows", one.tables, other.tables);
}

function same(file: string, what: string, english: string[], chinese: string[]): void {
  const at = english.findIndex((item, index) => item !== chinese[index]);
  const index = at === -1 && chinese.length > english.length ? english.length : at;
  if (index === -1) return;
  const show = (item: string | undefined): string => JSON.stringify(item ?? null).slice(0, 120);
  complain(file, `${what} differ, number ${index + 1}: ${show(english[index])} there, ${show(chinese[index])} here`);
}

/** A link as both languages have it: the English file, and the number of the heading instead of its name. */
function neutral(link: string, from: string): string {
  const target = locate(link, from);
  if (!target) return link;
  const { file, anchor } = target;
  const heading = pages.get(file)?.headings.findIndex(({ slug }) => slug === anchor);
  return `${file.replace(CHINESE, ".md")}${anchor === undefined ? "" : `#${heading}`}`;
}

/** Undefined for links that lead out of the repository. */
function locate(link: string, from: string): { file: string; anchor: string | undefined } | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return undefined;
  const [path = "", anchor] = decodeURI(link).split("#");
  return { file: path === "" ? from : relative(ROOT, join(ROOT, dirname(from), path)), anchor };
}

function checkLinks(file: string, page: Page): void {
  for (const link of page.links) {
    const target = locate(link, file);
    if (!target) continue;
    if (!existsSync(join(ROOT, target.file))) complain(file, `link to ${link}: there is no such file`);
    else if (
      target.anchor !== undefined &&
      !pages.get(target.file)?.headings.some(({ slug }) => slug === target.anchor)
    )
      complain(file, `link to ${link}: there is no such heading`);
  }
}

function checkVariables(file: string): void {
  const known = new Set<string>();
  const settings = [...listSettings().map(({ setting }) => setting), ...Object.values(ACCOUNT_FIELDS)];
  for (const variable of [...settings, ...Object.values(FILE_VARIABLES)]) {
    for (const name of [variable.env, ...(variable.aliases ?? [])]) {
      known.add(name);
      if ("sensitive" in variable && variable.sensitive) known.add(`${name}_FILE`);
    }
  }
  // `${NAME}` stands in OpenClaw's file and may be any variable.
  for (const [name] of read(file).matchAll(/(?<![A-Z0-9_{])(?:BRIDGE|DINGTALK)_[A-Z0-9_]+/g)) {
    if (!known.has(name)) complain(file, `${name} is not in src/config-schema.ts`);
  }
}

/** `npm run x`, `npm test`, `npm start`: of a package.json in the page's folder or above it. */
function checkScripts(file: string, { text }: Page): void {
  const scripts = scriptsAbove(dirname(file));
  for (const [, run, short] of text.matchAll(/\bnpm (?:run (?:-\S+ )*([a-z][\w:.-]*)|(test|start)\b)/g)) {
    const script = run ?? short ?? "";
    if (!scripts.includes(script)) complain(file, `no package.json here or above has a script ${script}`);
  }
}

function scriptsAbove(folder: string): string[] {
  const file = join(folder, "package.json");
  const { scripts = {} } = existsSync(join(ROOT, file)) ? (JSON.parse(read(file)) as { scripts?: object }) : {};
  return [...Object.keys(scripts), ...(folder === "." ? [] : scriptsAbove(dirname(folder)))];
}

/** `POST /v1/messages` and the like exist in the API. */
function checkCalls(file: string, { text }: Page): void {
  const { paths } = JSON.parse(read("docs/generated/openapi.json")) as {
    paths: Record<string, Record<string, unknown>>;
  };
  for (const [, method = "", path = ""] of text.matchAll(/\b(GET|POST|PUT|PATCH|DELETE) (\/[\w/:.-]+)/g)) {
    // Those that are not in the document: it itself, and the gateway's side.
    if (path === "/openapi.json" || path.startsWith("/dingtalk/")) continue;
    const operations = paths[path.replaceAll(/:(\w+)/g, "{$1}")];
    if (operations?.[method.toLowerCase()] === undefined) complain(file, `the API has no ${method} ${path}`);
  }
}

/** Tables of codes list codes that the source has. */
function checkCodes(file: string, { codes }: Page): void {
  const source = list("src/**/*.ts").map(read).join("\n");
  for (const code of codes) {
    if (!source.includes(`"${code}"`)) complain(file, `the code ${code} is not in src/`);
  }
}

/** JSON is JSON, and envelopes are of the schema. */
function checkExamples(file: string, { blocks }: Page): void {
  for (const { language, text } of blocks) {
    if (language !== "json" && language !== "json5") continue;
    let value: unknown;
    try {
      value = language === "json" ? JSON.parse(text) : JSON5.parse(text);
    } catch (error) {
      complain(file, `a ${language} block cannot be read: ${String(error)}`);
      continue;
    }
    const envelope = typeof value === "object" && value !== null && "robotCode" in value;
    if (envelope && !Value.Check(EnvelopeSchema, value)) complain(file, "an envelope is not of the schema");
  }
}

function list(...patterns: string[]): string[] {
  const skipped = new Set(["node_modules", "dist", "coverage", "data", ".git"]);
  return globSync(patterns, {
    cwd: ROOT,
    exclude: (path) => path.split("/").some((part) => skipped.has(part)),
  }).toSorted();
}

function read(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}
