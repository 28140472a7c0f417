/** The smallest value that so large a share of the samples does not exceed. NaN without samples. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.filter(Number.isFinite).toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** What a number should be, in the words of design §12. */
export interface Target {
  text: string;
  ok: boolean;
}

/** Prints the numbers as they come and counts the targets that were missed. */
export class Report {
  missed: string[] = [];

  heading(text: string): void {
    console.log(`\n${text}`);
  }

  row(name: string, value: string, target?: Target): void {
    if (target && !target.ok) this.missed.push(name);
    const verdict = target === undefined ? "" : `  target ${target.text}: ${target.ok ? "reached" : "MISSED"}`;
    console.log(`  ${name.padEnd(46)} ${value}${verdict}`);
  }

  /** p50, p99 and the worst of a set of milliseconds. */
  spread(name: string, samples: readonly number[], targets: { p50?: number; p99?: number } = {}): void {
    const [p50, p99] = [quantile(samples, 0.5), quantile(samples, 0.99)];
    const value = `n=${samples.length}  p50 ${p50.toFixed(2)} ms  p99 ${p99.toFixed(2)} ms  max ${quantile(samples, 1).toFixed(1)} ms`;
    const wanted = [
      ...(targets.p50 === undefined ? [] : [`p50 ≤ ${targets.p50} ms`]),
      ...(targets.p99 === undefined ? [] : [`p99 ≤ ${targets.p99} ms`]),
    ];
    const ok = samples.length > 0 && p50 <= (targets.p50 ?? Infinity) && p99 <= (targets.p99 ?? Infinity);
    this.row(name, value, wanted.length === 0 ? undefined : { text: wanted.join(", "), ok });
  }

  atMost(name: string, value: number, limit: number, unit: string): void {
    this.row(name, `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`, {
      text: `≤ ${limit} ${unit}`,
      ok: value <= limit,
    });
  }

  note(text: string): void {
    console.log(`    ${text}`);
  }
}
