import type { Report } from "./report.ts";
import { Rig } from "./rig.ts";

const SECONDS = 8;
const CONVERSATIONS = 200;

/** The most that goes through, each way by itself, with every limit lifted. */
export async function throughput(report: Report): Promise<void> {
  const rig = await Rig.build({ env: { BRIDGE_GATEWAY_CONCURRENCY: "128", BRIDGE_DELIVERY_CONCURRENCY: "128" } });
  try {
    await rig.connect();
    await rig.warmUp(CONVERSATIONS);
    report.heading(`as fast as it goes, ${CONVERSATIONS} conversations, ${SECONDS} s each`);
    let best = 0;
    for (const inFlight of [50, 200, 800]) {
      const rate = await measure(report, rig, `in, ${inFlight} frames without an ack`, async () => {
        const { said } = await rig.say({
          prefix: `f${inFlight}-`,
          seconds: SECONDS,
          inFlight,
          conversations: CONVERSATIONS,
        });
        return (await rig.taken(said.length)).length;
      });
      best = Math.max(best, rate);
    }
    report.row("sustained in", `${best.toFixed(0)} messages/s`, { text: "≥ 1000", ok: best >= 1_000 });
    best = 0;
    for (const inFlight of [16, 64, 128]) {
      const rate = await measure(report, rig, `out, ${inFlight} calls at a time`, async () => {
        const { called } = await rig.post({
          prefix: `p${inFlight}-`,
          seconds: SECONDS,
          inFlight,
          conversations: CONVERSATIONS,
        });
        return (await rig.sent(called.length)).length;
      });
      best = Math.max(best, rate);
    }
    report.row("sustained out", `${best.toFixed(0)} messages/s`, { text: "≥ 1000", ok: best >= 1_000 });
    report.note("the time runs until the last one has arrived; a process near 100 % of a core is what limits.");
  } finally {
    await rig.end();
  }
}

/** Runs one flood; prints its rate and what each process used; returns messages per second. */
async function measure(report: Report, rig: Rig, name: string, flood: () => Promise<number>): Promise<number> {
  const parties = { daemon: rig.daemon, DingTalk: rig.dingtalk, gateway: rig.gateway, caller: rig.caller };
  const before = Object.values(parties).map((one) => one.cpuSeconds());
  const commitsBefore = await rig.commits();
  const began = performance.now();
  const count = await flood();
  const seconds = (performance.now() - began) / 1_000;
  const commits = await rig.commits();
  const used = Object.entries(parties).map(([party, one], index) => {
    const cpu = one.cpuSeconds() - (before[index] ?? 0);
    return { party, share: cpu / seconds, perMessage: (cpu / count) * 1e6 };
  });
  const shares = used.map(({ party, share }) => `${party} ${(share * 100).toFixed(0)} %`).join(", ");
  report.row(name, `${(count / seconds).toFixed(0)} messages/s; cores: ${shares}`);
  const own = used[0]?.perMessage ?? Number.NaN;
  report.note(
    `the daemon takes ${own.toFixed(0)} µs of processor per message: ${(1e6 / own).toFixed(0)}/s on a core of its own`,
  );
  const [n, waited] = [commits.count - commitsBefore.count, commits.seconds - commitsBefore.seconds];
  const perCommit = (commits.operations - commitsBefore.operations) / n;
  report.note(
    `${(n / seconds).toFixed(0)} commits/s of ${perCommit.toFixed(1)} operations; ${((waited / seconds) * 100).toFixed(0)} % of the time was spent in them`,
  );
  return count / seconds;
}
