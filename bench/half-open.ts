import { sharedNow } from "../test/support/daemon-proc.ts";
import type { Report } from "./report.ts";
import { Rig } from "./rig.ts";

const ROUNDS = 3;

/** A connection over which nothing comes any more, although nobody closed it: how long until there is another. */
export async function halfOpen(report: Report): Promise<void> {
  const rig = await Rig.build();
  try {
    report.heading(`half-open Stream → replaced (${ROUNDS} rounds, real timings)`);
    await rig.connect();
    const seconds: number[] = [];
    for (let n = 0; n < ROUNDS; n += 1) {
      const connected = rig.dingtalk.waitFor("connected", 60_000);
      await rig.dingtalk.call("halfOpen");
      const began = sharedNow();
      await connected;
      seconds.push((sharedNow() - began) / 1_000);
    }
    report.atMost("slowest", Math.max(...seconds), 30, "s");
    report.note(`${seconds.map((one) => one.toFixed(1)).join(", ")} s`);
  } finally {
    await rig.end();
  }
}
