import fc from "fast-check";

/**
 * Markdown as models write it, and worse. Every code line, table row and quoted sentence carries a mark of its own
 * (`c12x`, `r12x`, `q12x`, …) so that a test can say where it must be found again.
 */
export interface Document {
  source: string;
  codeMarks: string[];
  rowMarks: string[];
  quoteMarks: string[];
}

const WORDS = fc.constantFrom(
  "word",
  "你好世界",
  "这是一个没有标点的长句子",
  "👨‍👩‍👧‍👦",
  "🇨🇳🇩🇪",
  "e\u0301a\u0308",
  "שלום עולם",
  "مرحبا",
  "नमस्ते",
  "ภาษาไทย",
  "\\*no emphasis\\*",
  "&amp;&lt;",
  "**bold 粗体**",
  "*em*",
  "`in line`",
  "[link 链接](https://example.com/a_b?c=d)",
  "https://example.com/路径",
  "3.5",
  '"quoted"',
  "tab\there",
  "back\\slash",
);
const ENDS = fc.constantFrom("。", ". ", "！", "? ", " ", "，", "\n");
const sentence = fc
  .array(WORDS, { minLength: 1, maxLength: 8 })
  .chain((words) => fc.tuple(fc.constant(words), ENDS))
  .map(([words, end]) => words.join(" ") + end);
const paragraph = fc
  .array(sentence, { minLength: 1, maxLength: 8 })
  .map((sentences) => `Text ${sentences.join("")}`.trim());
const cellText = fc.array(WORDS, { minLength: 0, maxLength: 3 }).map((words) => words.join(" ").replaceAll("|", "\\|"));
const codeLine = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom("const a = 1;", '  indented("x");', "# not a heading", "- no item", "> q", ""),
  },
  { weight: 1, arbitrary: fc.constantFrom("x".repeat(700), "变量，".repeat(120), "👨‍👩‍👧‍👦".repeat(40)) },
);

type Part =
  | { kind: "text"; text: string }
  | { kind: "heading"; level: number; text: string }
  | { kind: "code"; fence: string; info: string; lines: string[] }
  | { kind: "table"; rows: string[][]; bare: boolean }
  | { kind: "list"; ordered: boolean; loose: boolean; items: Part[][] }
  | { kind: "quote"; parts: Part[] }
  | { kind: "html"; lines: number }
  | { kind: "rule" };

const leaf: fc.Arbitrary<Part> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("text" as const), text: paragraph }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("code" as const),
      fence: fc.constantFrom("```", "````", "~~~"),
      info: fc.constantFrom("", "js", 'python title="一"'),
      lines: fc.array(codeLine, { minLength: 1, maxLength: 20 }),
    }),
  },
);

const parts = fc.letrec<{ list: Part; quote: Part; part: Part }>((tie) => ({
  list: fc.record({
    kind: fc.constant("list" as const),
    ordered: fc.boolean(),
    loose: fc.boolean(),
    items: fc.array(
      fc
        .tuple(
          fc.record({ kind: fc.constant("text" as const), text: paragraph }),
          fc.array(fc.oneof({ maxDepth: 2, depthIdentifier: "nest" }, leaf, tie("list"), tie("quote")), {
            maxLength: 2,
          }),
        )
        .map(([first, rest]) => [first, ...rest]),
      { minLength: 1, maxLength: 5 },
    ),
  }),
  quote: fc.record({
    kind: fc.constant("quote" as const),
    parts: fc.array(fc.oneof({ maxDepth: 2, depthIdentifier: "nest" }, leaf, tie("list")), {
      minLength: 1,
      maxLength: 3,
    }),
  }),
  part: fc.oneof(
    { weight: 4, arbitrary: leaf },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("heading" as const),
        level: fc.integer({ min: 1, max: 6 }),
        text: fc.constantFrom("标题", "Heading with `code`", "第 3 节"),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("table" as const),
        rows: fc.array(fc.array(cellText, { minLength: 2, maxLength: 2 }), { minLength: 1, maxLength: 30 }),
        bare: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: tie("list") },
    { weight: 2, arbitrary: tie("quote") },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("html" as const), lines: fc.integer({ min: 1, max: 30 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("rule" as const) }) },
  ),
}));

/** At most 24,000 characters: structure is followed in longer lists and quotes only so far. */
export const documents: fc.Arbitrary<Document> = fc
  .tuple(
    fc.array(fc.tuple(parts.part, fc.boolean()), { minLength: 1, maxLength: 8 }),
    fc.constantFrom("\n", "\n", "\n", "\r\n"),
  )
  .map(([blocks, newline]) => {
    const writer = new Writer();
    let source = "";
    for (const [block, tight] of blocks) {
      // Fences and headings may follow a paragraph without a blank line.
      const interrupts = tight && (block.kind === "code" || block.kind === "heading");
      source += (source === "" ? "" : interrupts ? "\n" : "\n\n") + writer.lines(block, false).join("\n");
      if (block.kind === "list" || block.kind === "html") source += "\n\nText after it.";
    }
    const { codeMarks, rowMarks, quoteMarks } = writer;
    return { source: source.replaceAll("\n", newline), codeMarks, rowMarks, quoteMarks };
  })
  .filter(({ source }) => source.length <= 24_000);

class Writer {
  readonly codeMarks: string[] = [];
  readonly rowMarks: string[] = [];
  readonly quoteMarks: string[] = [];
  #count = 0;

  lines(part: Part, quoted: boolean): string[] {
    switch (part.kind) {
      case "text": {
        if (!quoted) return part.text.split("\n");
        return `${this.#mark("q", this.quoteMarks)} ${part.text}`.split("\n");
      }
      case "heading":
        return [`${"#".repeat(part.level)} ${part.text}`];
      case "code":
        return [
          part.fence + part.info,
          ...part.lines.map((line) => this.#mark("c", this.codeMarks) + line),
          part.fence,
        ];
      case "table": {
        const rows = part.rows.map((cells) => [`${this.#mark("r", this.rowMarks)} ${cells[0]}`, cells[1] ?? ""]);
        const row = (cells: string[]): string => (part.bare ? cells.join(" | ") : `| ${cells.join(" | ")} |`);
        return [row(["head 头", "two"]), row(["---", ":-:"]), ...rows.map((cells) => row(cells))];
      }
      case "list":
        return part.items.flatMap((item, index) => {
          const marker = part.ordered ? `${index + 8}. ` : "- ";
          const body = item.flatMap((child, at) => [...(at > 0 ? [""] : []), ...this.lines(child, quoted)]);
          const indented = body.map(
            (line, at) => (at === 0 ? marker : line === "" ? "" : " ".repeat(marker.length)) + line,
          );
          return part.loose && index > 0 ? ["", ...indented] : indented;
        });
      case "quote":
        return part.parts
          .flatMap((child, at) => [...(at > 0 ? [""] : []), ...this.lines(child, true)])
          .map((line) => (line === "" ? ">" : `> ${line}`));
      case "html":
        return ["<div>", ...Array.from({ length: part.lines }, (_, index) => `<p>html ${index}</p>`), "</div>"];
      case "rule":
        return ["---"];
    }
  }

  #mark(kind: string, marks: string[]): string {
    this.#count += 1;
    const mark = `${kind}${this.#count}x`;
    marks.push(mark);
    return mark;
  }
}
