/** What the check of the documentation needs of a Markdown page. */
export interface Page {
  text: string;
  headings: { level: number; slug: string }[];
  /** Fenced code, in order, without the indent of a list. */
  blocks: { language: string; text: string }[];
  /** Targets of links and pictures outside of code. */
  links: string[];
  /** Number of rows of each table. */
  tables: string[];
  /** What stands as code in the first column of tables whose first heading is "code". */
  codes: string[];
}

/** Reads our own pages: fences of three backticks, ATX headings, inline links, pipe tables. */
export function readPage(text: string): Page {
  const page: Page = { text, headings: [], blocks: [], links: [], tables: [], codes: [] };
  const seen = new Map<string, number>();
  let fence: { indent: number; language: string; lines: string[] } | undefined;
  let table: string[] = [];
  for (const line of [...text.split("\n"), ""]) {
    const mark = /^( *)```(\w*)/.exec(line);
    if (fence) {
      if (!mark) fence.lines.push(line.slice(fence.indent));
      else {
        page.blocks.push({ language: fence.language, text: fence.lines.join("\n") });
        fence = undefined;
      }
      continue;
    }
    if (mark) {
      fence = { indent: mark[1]?.length ?? 0, language: mark[2] ?? "", lines: [] };
      continue;
    }
    if (/^\s*\|/.test(line)) table.push(line);
    else if (table.length > 0) {
      readTable(table, page);
      table = [];
    }
    readLine(line, page, seen);
  }
  return page;
}

function readLine(line: string, page: Page, seen: Map<string, number>): void {
  const heading = /^(#{1,6}) +(.*)$/.exec(line);
  if (heading) page.headings.push({ level: heading[1]?.length ?? 0, slug: uniqueSlug(heading[2] ?? "", seen) });
  for (const [, target = ""] of line.replaceAll(/`[^`]*`/g, "").matchAll(/\]\(<?([^)\s>]+)>?[^)]*\)/g))
    page.links.push(target);
}

const CODE_HEADINGS = new Set(["code", "代码"]);

function readTable(lines: string[], page: Page): void {
  page.tables.push(String(lines.length));
  const [first = "", , ...rows] = lines.map((line) => line.split("|")[1]?.trim() ?? "");
  if (!CODE_HEADINGS.has(first)) return;
  for (const cell of rows) {
    for (const [, code = ""] of cell.matchAll(/`([a-z_]+)`/g)) page.codes.push(code);
  }
}

/** As GitHub makes them: lower case, no punctuation, blanks as hyphens, a number after a repeated one. */
function uniqueSlug(heading: string, seen: Map<string, number>): string {
  const slug = heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, "")
    .replaceAll(" ", "-");
  const before = seen.get(slug);
  seen.set(slug, (before ?? 0) + 1);
  return before === undefined ? slug : `${slug}-${before}`;
}
