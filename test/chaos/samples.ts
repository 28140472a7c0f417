/** What the daemon looked like at one moment. */
export interface Sample {
  /** Seconds since the start of the run. */
  at: number;
  rssMb: number;
  handles: number;
  walMb: number;
  /** Event loop's p99 since the sample before, as the daemon itself says; undefined when it does not. */
  loopP99Ms: number | undefined;
}

/** Growth of a value in a minute: the slope of the straight line through all points (least squares). */
export function slopePerMinute(points: readonly { at: number; value: number }[]): number {
  const n = points.length;
  if (n < 2) return 0;
  const meanAt = points.reduce((sum, { at }) => sum + at, 0) / n;
  const meanValue = points.reduce((sum, { value }) => sum + value, 0) / n;
  const covariance = points.reduce((sum, { at, value }) => sum + (at - meanAt) * (value - meanValue), 0);
  const variance = points.reduce((sum, { at }) => sum + (at - meanAt) ** 2, 0);
  return variance === 0 ? 0 : (covariance / variance) * 60;
}

/** Value of a metric without labels, of the Prometheus text format. */
export function gauge(metrics: string, name: string): number | undefined {
  const line = metrics.split("\n").find((one) => one.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

/** Sum over the labels of a metric. */
export function total(metrics: string, name: string, having = ""): number {
  return metrics
    .split("\n")
    .filter((one) => one.startsWith(`${name}{`) && one.includes(having))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

export function printSamples(samples: readonly Sample[]): void {
  console.log("  minute   RSS MB  handles   WAL MB  loop p99 ms");
  for (const { at, rssMb, handles, walMb, loopP99Ms } of samples) {
    const columns = [(at / 60).toFixed(1), rssMb.toFixed(1), String(handles), walMb.toFixed(2), loopP99Ms?.toFixed(1)];
    console.log(columns.map((column) => (column ?? "-").padStart(9)).join(""));
  }
}
