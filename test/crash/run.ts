/**
 * Kills the bridge, the gateway and DingTalk with SIGKILL at random moments under load, both ways, and counts what was
 * lost. `npm run test:crash -- --rounds 200 --kill bridge,gateway,dingtalk`; `--streams` adds replies that grow, up to 20
 * at a time, in the same conversations. Ends with status 1 when a promise was broken.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { sharedNow } from "../support/daemon-proc.ts";
import { brokenPromises } from "./ledger.ts";
import { between, seeded } from "./random.ts";
import { Stage } from "./stage.ts";
import { STREAM_ENV, StreamRun, openStreams, searching } from "./stream-run.ts";

const VICTIMS = ["bridge", "gateway", "dingtalk"] as const;
type Victim = (typeof VICTIMS)[number];

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    /** Who is killed, separated by commas; each round takes one of them by chance. */
    kill: { type: "string", default: VICTIMS.join(",") },
    streams: { type: "boolean", default: false },
    /** Rounds after which the streams get their time to end, and are judged. */
    batch: { type: "string", default: "25" },
    /** Messages written per second; 100, or 10 beside streams. */
    rate: { type: "string" },
    /** 20, or 6 beside streams, so that they meet. */
    conversations: { type: "string" },
    /** Mean duration of a turn at the gateway; 0 = it answers at once and holds nothing. */
    "turn-ms": { type: "string", default: "150" },
    /** Repeats who is killed when, and what streams do; not how the processes run. */
    seed: { type: "string" },
  },
});
const rounds = Number(values.rounds);
const rate = Number(values.rate ?? (values.streams ? 10 : 100));
const conversations = Number(values.conversations ?? (values.streams ? 6 : 20));
const seed = Number(values.seed ?? between(Math.random, 0, 2 ** 31));
const random = seeded(seed);
const victims = values.kill.split(",").map((name) => {
  const known = VICTIMS.find((one) => one === name);
  if (!known) throw new Error(`--kill takes ${VICTIMS.join(", ")}`);
  return known;
});
const DRAIN_MS = 90_000;
/** Held entries per lane (design §5): so many turns may have ended in a gateway's memory before it could say so. */
const HELD_PER_LANE = 5;

const turnMs = Number(values["turn-ms"]);
const stage = await Stage.set({
  mode: turnMs === 0 ? { kind: "echo" } : { kind: "turns", turnMs, retryAfterS: 1 },
  conversations,
  redeliverMs: 2_000,
  ...(values.streams && { env: STREAM_ENV }),
});
const streams = values.streams ? new StreamRun(stage, { seed, conversations }) : undefined;
const kills: Record<Victim, number> = { bridge: 0, gateway: 0, dingtalk: 0 };

try {
  console.log(`--seed ${seed}`);
  await stage.connect();
  await write(0);
  await streams?.begin();
  for (let round = 1; round <= rounds; round += 1) {
    const victim = victims[Math.floor(random() * victims.length)] ?? "bridge";
    const lived = 20 + random() * 1_980;
    await delay(lived);
    await killAndRestart(victim, round);
    kills[victim] += 1;
    stage.note();
    console.log(
      `round ${round}/${rounds}: ${victim} killed after ${Math.round(lived)} ms, acked so far ${stage.ledger.acked}` +
        (streams ? `, streams ${stage.streams.streams.size}` : ""),
    );
    if (streams && round % Number(values.batch) === 0 && round < rounds) {
      await settleStreams(streams);
      await streams.begin();
      await write(rounds + round);
    }
  }
  await stage.dingtalk.call("hush");
  if (streams) await settleStreams(streams);
  await stage.drain(DRAIN_MS);
  const verdict = stage.ledger.judge();
  const broken = [
    ...brokenPromises(verdict, {
      turns: kills.bridge + kills.gateway * (1 + HELD_PER_LANE),
      sends: kills.bridge + kills.dingtalk,
    }),
    ...(streams?.totals.broken ?? []),
    ...(await stage.end(streams ? searching(stage.dataDir) : 0)),
    ...(streams ? openStreams(stage.dataDir) : []),
  ];
  const { lostInbound, lostOutbound, disorderInbound, disorderOutbound, ...counts } = verdict;
  console.log({
    kills,
    ...counts,
    lostInbound: lostInbound.length,
    lostOutbound: lostOutbound.length,
    disorderInbound: disorderInbound.length,
    disorderOutbound: disorderOutbound.length,
    ...(streams && { streams: { ...streams.totals, broken: streams.totals.broken.length } }),
  });
  if (broken.length > 0) {
    console.error(`broken (--seed ${seed}):\n${broken.join("\n")}`);
    console.error([...new Set(stage.daemon.errors)].slice(-10).join("\n"));
  }
  console.log(broken.length > 0 ? "0 passed, 1 failed" : "1 passed, 0 failed");
  process.exitCode = broken.length > 0 ? 1 : 0;
} finally {
  await stage.clear({ isKept: process.exitCode === 1 });
}

/** What became of the streams so far, when each has had the time to end. */
async function settleStreams(run: StreamRun): Promise<void> {
  const began = sharedNow();
  await stage.dingtalk.call("hush");
  const { broken, ...counts } = await run.settle(began);
  console.log(`after ${((sharedNow() - began) / 1_000).toFixed(0)} s`, { ...counts, broken: broken.length });
  for (const one of broken) console.error(one);
}

/** People write at a steady rate, whether or not the bridge is there. */
function write(life: number): Promise<void> {
  return stage.dingtalk.call("write", { prefix: `m${life}`, perSecond: rate, conversations });
}

async function killAndRestart(victim: Victim, round: number): Promise<void> {
  if (victim === "bridge") {
    await stage.daemon.kill();
    stage.streams.add({ e: "killed", at: sharedNow(), victim });
    await stage.connect();
  } else if (victim === "gateway") {
    await stage.gateway.kill();
    stage.streams.add({ e: "killed", at: sharedNow(), victim });
    await stage.gateway.start();
    await streams?.begin();
  } else {
    await stage.dingtalk.kill();
    stage.streams.add({ e: "killed", at: sharedNow(), victim });
    const connected = stage.dingtalk.waitFor("connected", 60_000);
    await stage.dingtalk.start();
    await connected;
    await write(round);
  }
}
