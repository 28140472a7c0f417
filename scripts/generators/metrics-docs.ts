import { createMetrics } from "../../src/ops/metrics.ts";

/** `docs/metrics.md`: every metric with its labels, read from the registry itself. */
export function metricsDocs(): string {
  const metrics = createMetrics().registry.getMetricsAsArray();
  const rows = metrics
    .map(({ name, type, help, labelNames }: { name: string; type: unknown; help: string; labelNames?: string[] }) => {
      const labels = (labelNames ?? []).map((label) => `\`${label}\``).join(", ");
      return `| \`${name}\` | ${String(type)} | ${labels || "–"} | ${help} |`;
    })
    .toSorted();
  return `# Metrics

Served at \`GET /metrics\` in Prometheus format, behind the token unless \`BRIDGE_METRICS_PUBLIC=true\`. Written from the code
by \`npm run generate\`.

| name | type | labels | meaning |
| --- | --- | --- | --- |
${rows.join("\n")}

Besides, of the process itself, as prom-client names them: \`process_*\` (memory, processor time, open files) and \`nodejs_*\` (heap, garbage
collection, and the lag of the event loop: \`nodejs_eventloop_lag_p99_seconds\` and its siblings).
`;
}
