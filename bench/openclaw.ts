import { setTimeout as sleep } from "node:timers/promises";
import { Rig, textOf } from "../test/openclaw/support/rig.ts";
import type { Report } from "./report.ts";

const MESSAGES = 24;
/** Between the model's first and last words: long enough for a card. */
const WRITES_MS = 1_500;
const PATIENCE_MS = 120_000;

/** Epoch milliseconds. */
interface Times {
  pushed: number;
  posted: number;
  asked: number;
  firstToken: number;
  firstPut: number;
  firstShown: number;
  lastToken: number;
  finished: number;
  shown: number;
}

/**
 * What one person waits for through a real OpenClaw gateway, one message after another, with a model that answers at once. Needs the
 * OpenClaw of test/openclaw/ and the built plugin.
 */
export async function openclaw(report: Report): Promise<void> {
  const rig = await Rig.start([], "followup");
  try {
    const all: Times[] = [];
    // The first turns of a gateway load what the others find loaded.
    for (let n = -2; n < MESSAGES; n += 1) {
      const times = await one(rig, `m${n + 2}`);
      if (n >= 0) all.push(times);
    }
    const spread = (name: string, from: keyof Times, to: keyof Times): void =>
      report.spread(
        name,
        all.map((times) => times[to] - times[from]),
      );
    report.heading(`one message at a time through OpenClaw, ${MESSAGES} messages`);
    spread("push → first text on the card", "pushed", "firstShown");
    spread("  ours: push → envelope at the gateway", "pushed", "posted");
    spread("  OpenClaw: envelope → request to the model", "posted", "asked");
    spread("  the model: request → first token", "asked", "firstToken");
    spread("  OpenClaw and plugin: first token → PUT", "firstToken", "firstPut");
    spread("  ours: PUT → first text on the card", "firstPut", "firstShown");
    spread("push → final text on the card", "pushed", "shown");
    spread("  the model: first → last token", "firstToken", "lastToken");
    spread("  OpenClaw and plugin: last token → finish", "lastToken", "finished");
    spread("  ours: finish → final text on the card", "finished", "shown");
    const ours = all.map(({ pushed, posted, firstPut, firstShown }) => posted - pushed + (firstShown - firstPut));
    report.spread("ours of push → first text", ours);
  } finally {
    await rig.stop();
  }
}

async function one(rig: Rig, word: string): Promise<Times> {
  const times: Partial<Times> = {};
  rig.model.answers.set(word, async function* () {
    times.asked ??= Date.now();
    times.firstToken ??= Date.now();
    yield `first words of ${word}, `;
    await sleep(WRITES_MS);
    times.lastToken = Date.now();
    yield "and the last";
  });
  times.pushed = Date.now();
  const id = await rig.say(`say ${word}`);
  const card = await until(() => {
    const found = rig.card(`first words of ${word}`);
    return found?.finishedAt === undefined ? undefined : found;
  });
  const call = (what: string, of: (typeof rig.outbound.calls)[number][]): number =>
    of.find((one) => one.what.includes(what) && JSON.stringify(one.body).includes(word))?.at ?? Number.NaN;
  const posted = rig.inbound.calls.find(({ body }) => body["id"] === id)?.at ?? Number.NaN;
  const shown = card.finishedAt ?? Number.NaN;
  if (!textOf(card).includes("and the last")) throw new Error(`the card of ${word} is not complete`);
  return {
    pushed: times.pushed,
    posted,
    asked: times.asked ?? Number.NaN,
    firstToken: times.firstToken ?? Number.NaN,
    firstPut: call("PUT /v1/streams/", rig.outbound.calls),
    firstShown: Math.min(...card.updates.map(({ at }) => at), card.createdAt),
    lastToken: times.lastToken ?? Number.NaN,
    finished: call("/finish", rig.outbound.calls),
    shown,
  };
}

async function until<T>(look: () => T | undefined): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`nothing within ${PATIENCE_MS / 1_000} s`);
    await sleep(20);
  }
}
