/**
 * Kills the bridge, the gateway and DingTalk with SIGKILL at random moments under load, both ways, and counts what was
 * lost. `npm run test:crash -- --rounds 200 --kill bridge,gateway,dingtalk`. Ends with status 1 when a promise was broken.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { brokenPromises } from "./ledger.ts";
import { Stage } from "./stage.ts";

const VICTIMS = ["bridge", "gateway", "dingtalk"] as const;
type Victim = (typeof VICTIMS)[number];

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    /** Who is killed, separated by commas; each round takes one of them by chance. */
    kill: { type: "string", default: VICTIMS.join(",") },
    /** Messages written per second. */
    rate: { type: "string", default: "100" },
    conversations: { type: "string", default: "20" },
    /** Mean duration of a turn at the gateway; 0 = it answers at once and holds nothing. */
    "turn-ms": { type: "string", default: "150" },
  },
});
const rounds = Number(values.rounds);
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
  conversations: Number(values.conversations),
  redeliverMs: 2_000,
});
const kills: Record<Victim, number> = { bridge: 0, gateway: 0, dingtalk: 0 };

try {
  await stage.connect();
  await write(0);
  for (let round = 1; round <= rounds; round += 1) {
    const victim = victims[Math.floor(Math.random() * victims.length)] ?? "bridge";
    const lived = 20 + Math.random() * 1_980;
    await delay(lived);
    await killAndRestart(victim, round);
    kills[victim] += 1;
    stage.note();
    console.log(
      `round ${round}/${rounds}: ${victim} killed after ${Math.round(lived)} ms, acked so far ${stage.ledger.acked}`,
    );
  }
  await stage.dingtalk.call("hush");
  await stage.drain(DRAIN_MS);
  const verdict = stage.ledger.judge();
  const broken = [
    ...brokenPromises(verdict, {
      turns: kills.bridge + kills.gateway * (1 + HELD_PER_LANE),
      sends: kills.bridge + kills.dingtalk,
    }),
    ...(await stage.end()),
  ];
  const { lostInbound, lostOutbound, disorderInbound, disorderOutbound, ...counts } = verdict;
  console.log({
    kills,
    ...counts,
    lostInbound: lostInbound.length,
    lostOutbound: lostOutbound.length,
    disorderInbound: disorderInbound.length,
    disorderOutbound: disorderOutbound.length,
  });
  if (broken.length > 0) {
    console.error("broken:", broken);
    console.error([...new Set(stage.daemon.errors)].slice(-10).join("\n"));
  }
  console.log(broken.length > 0 ? "0 passed, 1 failed" : "1 passed, 0 failed");
  process.exitCode = broken.length > 0 ? 1 : 0;
} finally {
  await stage.clear();
}

/** People write at a steady rate, whether or not the bridge is there. */
function write(life: number): Promise<void> {
  return stage.dingtalk.call("write", {
    prefix: `m${life}`,
    perSecond: Number(values.rate),
    conversations: Number(values.conversations),
  });
}

async function killAndRestart(victim: Victim, round: number): Promise<void> {
  if (victim === "bridge") {
    await stage.daemon.kill();
    await stage.connect();
  } else if (victim === "gateway") {
    await stage.gateway.kill();
    await stage.gateway.start();
  } else {
    await stage.dingtalk.kill();
    const connected = stage.dingtalk.waitFor("connected", 60_000);
    await stage.dingtalk.start();
    await connected;
    await write(round);
  }
}
