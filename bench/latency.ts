import type { Report } from "./report.ts";
import { Rig, latencies } from "./rig.ts";

const SECONDS = 10;
const CONVERSATIONS = 50;

/** What one message waits for, while messages come and replies go at a steady rate. */
export async function latency(report: Report): Promise<void> {
  const rig = await Rig.build();
  try {
    await rig.connect();
    await rig.warmUp(CONVERSATIONS);
    for (const perSecond of [100, 200]) {
      report.heading(`${perSecond} messages/s in and ${perSecond} replies/s out, ${CONVERSATIONS} conversations`);
      const cpu = rig.daemon.cpuSeconds();
      const load = { prefix: `r${perSecond}-`, seconds: SECONDS, perSecond, conversations: CONVERSATIONS };
      const [{ said, ackMs }, { called, answered }] = await Promise.all([rig.say(load), rig.post(load)]);
      const used = (rig.daemon.cpuSeconds() - cpu) / SECONDS;
      const taken = await rig.taken(said.length);
      const sent = await rig.sent(called.length);
      report.spread("frame → ack", ackMs, { p99: 15 });
      report.spread("in: frame → POST at the gateway", latencies(said, taken), { p50: 3, p99: 15 });
      report.spread("out: POST of a reply → send at DingTalk", latencies(called, sent), { p50: 3, p99: 15 });
      report.spread("POST of a reply → 202", answered);
      report.row("processor of the daemon", `${(used * 100).toFixed(0)} % of a core`);
      report.row("RSS of the daemon", `${rig.daemon.rssMb().toFixed(0)} MB`);
    }
    report.note("in and out hold two commits each (append, begin), and the simulators' own time to read and answer.");
  } finally {
    await rig.end();
  }
}
