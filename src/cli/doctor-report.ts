import type { Writable } from "node:stream";
import type { Finding, FindingLevel } from "../domain/finding.ts";

export interface DoctorReport {
  version: string;
  /** No finding is an error. */
  ok: boolean;
  findings: Finding[];
}

const LEVELS = { ok: "ok", note: "note", warning: "WARNING", error: "ERROR" } as const satisfies Record<
  FindingLevel,
  string
>;
const WIDTH = { level: 9, check: 15 };

/** For people: a line for each finding, its code where it is not ok, and below it how to mend it. */
export function reportText({ version, findings }: DoctorReport): string {
  const several = new Set(findings.flatMap(({ account }) => (account === undefined ? [] : [account]))).size > 1;
  const indent = " ".repeat(WIDTH.level + WIDTH.check);
  const lines = findings.flatMap(({ check, code, level, account, text, mend }) => {
    const whose = several && account !== undefined ? `${account}: ` : "";
    const named = level === "ok" || code === "skipped" ? "" : ` [${code}]`;
    const first = `${LEVELS[level].padEnd(WIDTH.level)}${check.padEnd(WIDTH.check)}${whose}${text}${named}`;
    return mend === undefined ? [first] : [first, `${indent}mend: ${mend}`];
  });
  return [`dingtalk-bridge ${version}`, "", ...lines, "", ...summary(findings), ""].join("\n");
}

function summary(findings: readonly Finding[]): string[] {
  const count = (level: FindingLevel): number => findings.filter((one) => one.level === level).length;
  const [errors, warnings] = [count("error"), count("warning")];
  const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;
  if (errors + warnings === 0) return ["All is well."];
  const first = findings.find(({ level }) => level === (errors > 0 ? "error" : "warning"));
  return [
    `${plural(errors, "error")}, ${plural(warnings, "warning")}. docs/doctor.md explains every code.`,
    `Next: mend ${first?.check}${errors + warnings === 1 ? "" : " first"}, then run: dingtalk-bridge doctor`,
  ];
}

/** One line on a terminal that says what is being waited for. */
export class Progress {
  readonly #terminal: Writable | undefined;

  constructor(output: Writable | undefined) {
    this.#terminal = output && "isTTY" in output && output.isTTY ? output : undefined;
  }

  show(waiting: readonly string[]): void {
    if (waiting.length === 0) return;
    const { columns = 80 } = (this.#terminal ?? {}) as { columns?: number };
    const line = `checking: ${waiting.join(", ")}`;
    // A line that wraps could not be taken back.
    const shown = line.length < columns ? line : `${line.slice(0, columns - 2)}…`;
    this.#terminal?.write(`\r\u001B[K${shown}`);
  }

  end(): void {
    this.#terminal?.write("\r\u001B[K");
  }
}
