import { setTimeout as delay } from "node:timers/promises";
import { gauge } from "../test/chaos/samples.ts";
import type { CardsSeen } from "./cards.ts";
import { type Report, quantile } from "./report.ts";
import { Rig } from "./rig.ts";
import type { StreamTimes } from "./stream-load.ts";

const STREAMS = 100;
const DELTAS_PER_SECOND = 10;
/** So that a minute of them fits a card. */
const DELTA_LENGTH = 4;
const CARDS_PER_SECOND = 15;
/** Updates stop at once when there are no more deltas: what is left are the ends, at the limiter's rate. */
const END_MS = 30_000;
const MOST_CALLS = 8;

/** Many replies that grow at a time, within the limit of card calls, on either plan, begun at once and one after another. */
export async function streams(report: Report, { seconds }: { seconds: number }): Promise<void> {
  for (const plan of ["standard", "professional"] as const) {
    const rig = await Rig.build({
      knobs: { cardQps: CARDS_PER_SECOND },
      env: { BRIDGE_LIMITS_CARD_PER_SECOND: String(CARDS_PER_SECOND), BRIDGE_QUOTA_PLAN: plan },
    });
    try {
      await rig.connect();
      await rig.warmUp(STREAMS);
      for (const beginOverMs of [0, seconds * 1_000]) {
        const how = beginOverMs === 0 ? "all begun at once" : `begun evenly over ${seconds} s`;
        report.heading(
          `${STREAMS} replies of ${seconds} s at ${DELTAS_PER_SECOND} deltas/s, ${how}; plan ${plan}, ${CARDS_PER_SECOND} card calls/s`,
        );
        await measure(report, rig, {
          seconds,
          beginOverMs,
          prefix: `b${beginOverMs}-`,
          isStandard: plan === "standard",
        });
      }
    } finally {
      await rig.end();
    }
  }
  report.note("the month's budgets are lifted: no reply is held back by the ladder of the quota governor.");
}

async function measure(
  report: Report,
  rig: Rig,
  load: { seconds: number; beginOverMs: number; prefix: string; isStandard: boolean },
): Promise<void> {
  await rig.cards();
  const { seconds, beginOverMs, prefix } = load;
  const process = new ProcessWatch(rig);
  const before = rig.daemon.cpuSeconds();
  const began = performance.now();
  const times = await rig.streams({
    prefix,
    streams: STREAMS,
    beginOverMs,
    seconds,
    deltasPerSecond: DELTAS_PER_SECOND,
    deltaLength: DELTA_LENGTH,
  });
  const cpu = (rig.daemon.cpuSeconds() - before) / ((performance.now() - began) / 1_000);
  const watched = await process.end();
  // The last ends wait for the limiter.
  await delay(Math.min(END_MS, 2_000 + (STREAMS / CARDS_PER_SECOND) * 1_500));
  print(report, times, await rig.cards(), load.isStandard);
  report.row("processor of the daemon", `${(cpu * 100).toFixed(0)} % of a core`);
  report.row(
    "RSS at the begin, in the middle, at the end",
    `${watched.rssMb.map((one) => one.toFixed(0)).join(", ")} MB`,
  );
  report.row("event loop p99, median and worst second", watched.loopMs.map((one) => `${one.toFixed(1)} ms`).join(", "));
}

function print(report: Report, { streams, putMs }: StreamTimes, seen: CardsSeen, isStandard: boolean): void {
  const byKey = new Map(seen.cards.map((card) => [card.key, card]));
  const since = (from: "firstPutAt" | "finishedAt", to: "shownAt" | "updatedAt" | "endedAt"): number[] =>
    streams.flatMap((stream) => {
      const at = byKey.get(stream.key)?.[to];
      return at === undefined ? [] : [at - stream[from]];
    });
  const ended = seen.cards.filter(({ endedAt }) => endedAt !== undefined).length;
  report.row("cards that ended", `${ended} of ${seen.cards.length}, ${STREAMS} replies`, {
    text: String(STREAMS),
    ok: ended === STREAMS && seen.cards.length === STREAMS,
  });
  report.spread("first delta → card with its text", since("firstPutAt", "shownAt"));
  report.spread("first delta → first update", since("firstPutAt", "updatedAt"));
  report.spread("finish answered → card finished", since("finishedAt", "endedAt"));
  report.spread("PUT → 204", putMs);
  const refused = streams.reduce((sum, one) => sum + one.refused, 0);
  report.row("PUTs and finishes refused by the bridge", String(refused), { text: "0", ok: refused === 0 });
  const perReply = Object.entries(seen.calls).map(([name, n]) => `${name} ${(n / STREAMS).toFixed(2)}`);
  const calls = Object.values(seen.calls).reduce((sum, n) => sum + n, 0) / STREAMS;
  const most = Math.max(...seen.cards.map(({ updates }) => updates)) + 2;
  const text = `${calls.toFixed(2)} (${perReply.join(", ")}), ${most} for one reply at most`;
  report.row(
    "Open API calls per reply",
    text,
    isStandard ? { text: `≤ ${MOST_CALLS}`, ok: most <= MOST_CALLS } : undefined,
  );
  const updates = seen.cards.map((card) => card.updates);
  report.row("updates per card, least, median, most", [0, 0.5, 1].map((share) => quantile(updates, share)).join(", "));
  report.row("most card calls in any second", String(seen.busiest), {
    text: `≤ ${CARDS_PER_SECOND}`,
    ok: seen.busiest <= CARDS_PER_SECOND,
  });
  report.row("card calls refused by DingTalk", String(seen.refused), { text: "0", ok: seen.refused === 0 });
  for (const problem of seen.problems.slice(0, 3)) report.note(problem);
}

/** Looks at the daemon every second. */
class ProcessWatch {
  readonly #rig: Rig;
  readonly #rssMb: number[];
  readonly #loopMs: number[] = [];
  readonly #over = new AbortController();
  readonly #watching: Promise<void>;

  constructor(rig: Rig) {
    this.#rig = rig;
    this.#rssMb = [rig.daemon.rssMb()];
    this.#watching = this.#watch();
  }

  async end(): Promise<{ rssMb: number[]; loopMs: number[] }> {
    this.#over.abort();
    await this.#watching;
    const middle = this.#rssMb[Math.floor(this.#rssMb.length / 2)] ?? Number.NaN;
    return {
      rssMb: [this.#rssMb[0] ?? Number.NaN, middle, this.#rig.daemon.rssMb()],
      loopMs: [quantile(this.#loopMs, 0.5), quantile(this.#loopMs, 1)],
    };
  }

  async #watch(): Promise<void> {
    while (!this.#over.signal.aborted) {
      await delay(1_000, undefined, { signal: this.#over.signal }).catch(() => undefined);
      this.#rssMb.push(this.#rig.daemon.rssMb());
      // It counts since the last time it was asked.
      const lag = gauge(await this.#rig.metrics(), "nodejs_eventloop_lag_p99_seconds");
      if (lag !== undefined) this.#loopMs.push(lag * 1_000);
    }
  }
}
