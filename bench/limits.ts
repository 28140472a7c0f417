import type { Report } from "./report.ts";
import { Rig } from "./rig.ts";

const SECONDS = 20;
/** No webhook is known for these, so that every reply takes the limited Open API. */
const API = "oToMessages/batchSend";

/** More replies than the limit lets through: how many go a second, and whether DingTalk ever refuses one. */
export async function limits(report: Report): Promise<void> {
  const rig = await Rig.build({
    knobs: { qps: 20 },
    env: { BRIDGE_LIMITS_API_PER_SECOND: "20" },
  });
  try {
    report.heading("20 sends/s through a limiter of 20/s; DingTalk counts in a sliding second and refuses the 21st");
    await rig.connect();
    const total = SECONDS * 20;
    await rig.post({ prefix: "l", seconds: 4, perSecond: total / 4, conversations: 100 });
    await rig.sent(total, (SECONDS + 20) * 1_000);
    const calls = await rig.dingtalk.call<{ total: number; refused: number; busiest: number; seconds: number }>(
      "calls",
      API,
    );
    const perSecond = (calls.total - 1) / calls.seconds;
    report.row("refused", `${calls.refused} of ${calls.total}`, { text: "0", ok: calls.refused === 0 });
    report.row("sent per second", perSecond.toFixed(1), { text: "≥ 19", ok: perSecond >= 19 });
    report.row("most in any second", String(calls.busiest), { text: "≤ 20", ok: calls.busiest <= 20 });
    report.note("a slot is held until the answer and one window longer: the rate is 20 / (1 s + answer time).");
  } finally {
    await rig.end();
  }
}
