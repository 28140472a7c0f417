import { BridgeError } from "./domain/errors.ts";

/** One thing that is missing or wrong. No field ever holds the value of a setting: it may be a secret in the wrong place. */
export interface ConfigProblem {
  /** The variable, the flag, or the path in a file together with that file's name. */
  setting: string;
  /** Goes on where `setting` ends: "is not …". */
  problem: string;
  /** What to do about it, as a sentence. */
  mend: string;
}

/** What reading the sources found out besides values; the readers append to both. */
export interface Findings {
  problems: ConfigProblem[];
  /** For the log: where accounts came from, what was overridden. */
  notes: string[];
  /** Where values stood that are used, by path; what is not here is a default. */
  origins: Map<string, Origin>;
}

/** Which source a value came from, and the words in which that source names it. */
export interface Origin {
  kind: "flag" | "environment" | "file" | "openclaw" | "default";
  name: string;
}

/** `config_invalid`: everything that is missing or wrong, at once. */
export class ConfigError extends BridgeError {
  readonly problems: ConfigProblem[];

  constructor(problems: ConfigProblem[], cause?: unknown) {
    const lines = problems.map(({ setting, problem, mend }) => `- ${setting} ${problem}. ${mend}`);
    const count = problems.length === 1 ? "1 setting is" : `${problems.length} settings are`;
    super("config_invalid", [`${count} missing or wrong:`, ...lines].join("\n"), { cause });
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** The known name that was probably meant, if one is near enough to say so. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = plain(name);
  // A long name is not compared: no setting has one, and the table below grows with it.
  if (wanted.length > 64) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(wanted, plain(candidate));
    if (distance < bestDistance && distance < wanted.length) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_.]/g, "");

/** Levenshtein's. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
