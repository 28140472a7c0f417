/**
 * `npm run bench`: every number of design §12, on the built daemon (dist/) with durability on. The daemon, DingTalk, the
 * gateway and a caller of the bridge's API are a process each, so that none waits for another's event loop; on two cores
 * they still compete for processors. `-- --only latency,start` runs some; half-open, gateway (a real OpenClaw, see
 * test/openclaw/) and streams take minutes and run only when they are named (`--half-open` adds the one), streams for `--seconds 60` each. Prints what it ran on; asserts nothing: tests never assert a time.
 */
import { parseArgs } from "node:util";
import { growth } from "./growth.ts";
import { halfOpen } from "./half-open.ts";
import { idle } from "./idle.ts";
import { latency } from "./latency.ts";
import { limits } from "./limits.ts";
import { openclaw } from "./openclaw.ts";
import { printMachine } from "./machine.ts";
import { Report } from "./report.ts";
import { start } from "./start.ts";
import { streams } from "./streams.ts";
import { throughput } from "./throughput.ts";

const MEASUREMENTS: Record<string, (report: Report) => Promise<void>> = {
  latency,
  throughput,
  start,
  idle,
  limits,
  growth,
};

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    "half-open": { type: "boolean", default: false },
    seconds: { type: "string", default: "60" },
  },
});
const all: Record<string, (report: Report) => Promise<void>> = {
  ...MEASUREMENTS,
  "half-open": halfOpen,
  gateway: openclaw,
  streams: (report) => streams(report, { seconds: Number(values.seconds) }),
};
const names = values.only?.split(",") ?? [...Object.keys(MEASUREMENTS), ...(values["half-open"] ? ["half-open"] : [])];

printMachine();
const report = new Report();
for (const name of names) {
  const measure = all[name];
  if (!measure) throw new Error(`--only takes ${Object.keys(all).join(", ")}`);
  await measure(report);
}
console.log(`\n${report.missed.length === 0 ? "every target reached" : `missed: ${report.missed.join("; ")}`}`);
