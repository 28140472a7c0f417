/**
 * Plays a script of some twenty messages again and again, and kills the bridge each time at another step: before and after
 * the n-th commit, and before, within and after the n-th request to the gateway and to DingTalk, for every n that a
 * run without a kill has. `npm run test:crash:points`; `-- --every 12` takes one point in twelve, `-- --jobs 2` plays two
 * at a time, `-- --only commit:after:7` one point. Ends with status 1 when a promise was broken.
 */
import { parseArgs } from "node:util";
import { type Counts, type Outcome, play } from "./play.ts";

const { values } = parseArgs({
  options: {
    every: { type: "string", default: "1" },
    jobs: { type: "string", default: "2" },
    only: { type: "string" },
  },
});

const quiet = await play(undefined);
if (quiet.broken.length > 0 || !quiet.counts) throw new Error(`without any kill: ${quiet.broken.join("; ")}`);
const points = values.only === undefined ? enumerate(quiet.counts, Number(values.every)) : [values.only];
console.log(
  `without a kill: ${JSON.stringify(quiet.counts)} steps, ${quiet.summary}; ${points.length} points to kill at`,
);

const failed: Outcome[] = [];
const totals = { killed: 0, ended: 0, repeatedTurns: 0, repeatedSends: 0 };
const queue = points.values();
await Promise.all(Array.from({ length: Number(values.jobs) }, () => work()));
console.log(totals);
for (const { point, broken } of failed) console.error(`${point}: ${broken.join("; ")}`);
console.log(`${points.length - failed.length} passed, ${failed.length} failed`);
// A point that was never reached proves nothing; some vary with the timing of a run.
const unreached = totals.killed < points.length / 2;
if (unreached) console.error("most kills never happened");
process.exitCode = failed.length > 0 || unreached ? 1 : 0;

async function work(): Promise<void> {
  for (const point of queue) {
    const outcome = await play(point);
    if (outcome.killed) totals.killed += 1;
    totals.ended += 1;
    totals.repeatedTurns += outcome.repeatedTurns;
    totals.repeatedSends += outcome.repeatedSends;
    if (outcome.broken.length > 0) failed.push(outcome);
    if (totals.ended % 20 === 0) console.log(`${totals.ended}/${points.length}, ${failed.length} failed`);
  }
}

/** Every `every`-th of all points, in the order of the steps, so that a short form covers all of a message's life. */
function enumerate(counts: Counts, every: number): string[] {
  const all = (["commit", "gateway", "dingtalk"] as const).flatMap((what) => {
    const phases = what === "commit" ? ["before", "after"] : ["before", "sent", "after"];
    return Array.from({ length: counts[what] }, (_, index) => phases.map((phase) => `${what}:${phase}:${index + 1}`));
  });
  return all.flat().filter((_, index) => index % every === 0);
}
