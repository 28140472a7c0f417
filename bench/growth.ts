import type { Report } from "./report.ts";
import { Rig, latencies } from "./rig.ts";

const PER_SECOND = 200;
const SECONDS = 6;

/** The same load over more conversations, and over more accounts: nothing should get slower. */
export async function growth(report: Report): Promise<void> {
  report.heading(`${PER_SECOND} messages/s in, over more and more conversations`);
  const rig = await Rig.build();
  try {
    await rig.connect();
    await rig.warmUp(100);
    for (const conversations of [1, 10, 100, 1_000]) {
      await load(report, rig, `${conversations} conversations`, conversations);
    }
  } finally {
    await rig.end();
  }
  report.heading(`${PER_SECOND} messages/s in, over more and more accounts`);
  for (const accounts of [1, 10, 50]) {
    const many = await Rig.build({ accounts });
    try {
      const ms = await many.connect();
      await many.warmUp(100);
      await load(report, many, `${accounts} accounts, all connected after ${ms.toFixed(0)} ms`, 100);
    } finally {
      await many.end();
    }
  }
}

async function load(report: Report, rig: Rig, name: string, conversations: number): Promise<void> {
  const { said, ackMs } = await rig.say({
    prefix: `g${conversations}-`,
    seconds: SECONDS,
    perSecond: PER_SECOND,
    conversations,
  });
  const taken = await rig.taken(said.length);
  report.spread(`${name}: ack`, ackMs);
  report.spread(`${name}: in`, latencies(said, taken));
  report.note(`RSS ${rig.daemon.rssMb().toFixed(0)} MB; ${taken.length} of ${said.length} arrived`);
}
