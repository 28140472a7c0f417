import { setTimeout as delay } from "node:timers/promises";
import type { Report } from "./report.ts";
import { Rig } from "./rig.ts";

const IDLE_S = 10;
const LOAD_S = 30;

/** Memory and processor time with nothing to do, and memory at 200 messages/s both ways. */
export async function idle(report: Report): Promise<void> {
  const rig = await Rig.build();
  try {
    report.heading("memory and idle processor time");
    await rig.connect();
    await delay(3_000);
    report.row("RSS, connected, nothing to do", `${rig.daemon.rssMb().toFixed(0)} MB`);
    const before = rig.daemon.cpuSeconds();
    await delay(IDLE_S * 1_000);
    const percent = ((rig.daemon.cpuSeconds() - before) / IDLE_S) * 100;
    report.row(`processor over ${IDLE_S} s`, `${percent.toFixed(2)} %`, { text: "< 0.5 %", ok: percent < 0.5 });
    const load = { prefix: "m", seconds: LOAD_S, perSecond: 200, conversations: 100 };
    const [said, posted] = [rig.say(load), rig.post(load)];
    const samples: number[] = [];
    const cpu = rig.daemon.cpuSeconds();
    for (let n = 0; n < LOAD_S - 1; n += 1) {
      await delay(1_000);
      samples.push(rig.daemon.rssMb());
    }
    await Promise.all([said, posted]);
    report.atMost("RSS at 200 messages/s in and 200/s out, most", Math.max(...samples), 120, "MB");
    report.row(
      "processor at that load",
      `${(((rig.daemon.cpuSeconds() - cpu) / LOAD_S) * 100).toFixed(0)} % of a core`,
    );
    report.note(
      `after 5 s ${samples[4]?.toFixed(0)}, 15 s ${samples[14]?.toFixed(0)}, 29 s ${samples.at(-1)?.toFixed(0)} MB`,
    );
  } finally {
    await rig.end();
  }
}
