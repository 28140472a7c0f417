import { setTimeout as delay } from "node:timers/promises";
import { writeBacklog } from "./backlog.ts";
import { type Report, quantile } from "./report.ts";
import { Rig, type RigOptions } from "./rig.ts";

const STARTS = 5;
const ENTRIES = 100_000;

/** From the start of the process to an open Stream, with nothing to do and with a large backlog; and memory. */
export async function start(report: Report): Promise<void> {
  report.heading(`start of the process → connected (median of ${STARTS})`);
  const empty = await times({ withoutGateway: true });
  report.atMost("empty backlog", quantile(empty.ms, 0.5), 500, "ms");
  for (const lanes of [1_000, ENTRIES]) {
    const fill = (dataDir: string): Promise<void> => writeBacklog(dataDir, { entries: ENTRIES, lanes });
    const { ms, rssMb, peakMb } = await times({ fill, withoutGateway: true });
    const name = `${ENTRIES.toLocaleString("en")} entries in ${lanes.toLocaleString("en")} conversations`;
    report.atMost(name, quantile(ms, 0.5), 2_000, "ms");
    report.atMost("  RSS with it, gateway away", rssMb, 200, "MB");
    report.row("  most RSS while starting", `${peakMb.toFixed(0)} MB`);
  }
  report.note("nobody listens at the gateway's address, so that the backlog stays.");
}

async function times(options: RigOptions): Promise<{ ms: number[]; rssMb: number; peakMb: number }> {
  const rig = await Rig.build(options);
  try {
    const ms: number[] = [];
    let [rssMb, peakMb] = [0, 0];
    for (let n = 0; n < STARTS; n += 1) {
      ms.push(await rig.connect());
      if (n === STARTS - 1) {
        await delay(5_000);
        [rssMb, peakMb] = [rig.daemon.rssMb(), rig.daemon.peakRssMb()];
      }
      await rig.daemon.stop();
    }
    return { ms, rssMb, peakMb };
  } finally {
    await rig.end();
  }
}
