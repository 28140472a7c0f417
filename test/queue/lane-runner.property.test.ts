import fc from "fast-check";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import { LaneRunner } from "../../src/queue/lane-runner.ts";
import { type Entry, conversationLane, userLane } from "../../src/queue/store.ts";
import {
  conversation,
  crashImage,
  entry,
  metrics,
  openStore,
  openWithHandle,
  temporaryDirectory,
  turn,
  until,
} from "./helpers.ts";
import { away, delivered, eager, failedEntry, nameOf, never, silent } from "./runner.ts";

type Attempt = { outcome: Outcome | Error; turns: number };
type Step =
  | { do: "append"; lane: number }
  | { do: "cancel"; n: number }
  | { do: "merge"; person: number; late: boolean }
  | { do: "restart" }
  | { do: "pass"; turns: number };

const PEOPLE = ["staff001", "staff002"];
const LANES = [
  ...PEOPLE.map((person) => userLane("main", person)),
  ...PEOPLE.map((_, i) => conversationLane("main", `cid${i}`)),
];

const attempts = fc.infiniteStream<Attempt>(
  fc.record({
    outcome: fc.oneof(
      { weight: 4, arbitrary: fc.constant(delivered) },
      fc.constantFrom<Outcome | Error>(
        away,
        failedEntry,
        { kind: "held", afterMs: 0 },
        { kind: "uncertain", code: "dingtalk_timeout" },
        { kind: "rejected", code: "dingtalk_rejected", detail: "" },
        new Error("a defect"),
      ),
    ),
    turns: fc.nat({ max: 4 }),
  }),
);
const append = fc.record({ do: fc.constant("append" as const), lane: fc.nat({ max: 3 }) });
const calm = fc.oneof(
  { weight: 5, arbitrary: append },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("pass" as const), turns: fc.nat({ max: 4 }) }) },
);
const wild = fc.oneof(
  { weight: 6, arbitrary: calm },
  fc.record({ do: fc.constant("cancel" as const), n: fc.nat({ max: 30 }) }),
  fc.record({ do: fc.constant("merge" as const), person: fc.nat({ max: 1 }), late: fc.boolean() }),
  fc.constant({ do: "restart" as const }),
);

/** Runs the script to its end and checks what must hold at every moment; returns names in the order they became final. */
async function play(template: string, concurrency: number, steps: Step[], next: () => Attempt): Promise<string[]> {
  const { store, db } = openWithHandle(crashImage(template, mkdtempSync(join(template, "run-"))));
  db.exec("PRAGMA synchronous = OFF");
  const underWay = new Set<number>();
  const final: string[] = [];
  const broken: string[] = [];
  const begin = store.begin.bind(store);
  store.begin = (seq) => {
    const lanes = LANES.map((lane) => store.head("outbox", lane)?.seq);
    if (!lanes.includes(seq)) broken.push(`${seq} was begun while it was not first of its lane`);
    return begin(seq);
  };
  const work = async (one: Entry): Promise<Outcome> => {
    if (underWay.has(one.seq)) broken.push(`${nameOf(one)} was under way twice`);
    underWay.add(one.seq);
    if (underWay.size > concurrency) broken.push(`${underWay.size} at a time`);
    const { outcome, turns } = next();
    for (let i = 0; i < turns; i += 1) await turn();
    underWay.delete(one.seq);
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  const runner = new LaneRunner({
    queue: "outbox",
    store,
    concurrency,
    retry: eager,
    clock: { now: () => Date.now(), monotonic: () => performance.now() },
    logger: silent,
    metrics,
    work,
    onSettled: (one, { state }) => state !== "open" && final.push(nameOf(one)),
  });
  await runner.start();
  const told: Promise<void>[] = [];
  let appended = 0;
  for (const [at, step] of steps.entries()) {
    if (step.do === "append") {
      const lane = LANES[step.lane] ?? "";
      const name = `${step.lane}/${(appended += 1)}`;
      told.push(store.append(entry(name, { queue: "outbox", lane })).then((put) => runner.changed(put.lane)));
    } else if (step.do === "cancel") {
      const one = store.heads("outbox")[step.n % 4];
      const lane = one?.lane ?? "";
      const id = LANES.flatMap((_, i) => `main:${i}/${step.n}`).find((id) => store.find("outbox", id));
      if (id) told.push(store.cancel("outbox", id, 1).then(() => runner.changed(lane)));
    } else if (step.do === "merge") {
      const direct = conversation({ id: `cid${step.person}`, staffId: PEOPLE[step.person] });
      const tell = async (): Promise<void> => {
        const { merged } = await store.append(entry(`in${at}`), direct);
        if (step.late) await turn();
        if (merged) runner.merge(merged.from, merged.to);
      };
      told.push(tell());
    } else if (step.do === "restart") {
      told.push(runner.stop({ signal: never }), runner.start());
    } else for (let i = 0; i < step.turns; i += 1) await turn();
  }
  await Promise.all(told);
  await until(() => expect(store.counts("outbox").open).toBe(0));
  await until(() => expect(runner.lanes).toBe(0));
  await runner.stop({ signal: never });
  await store.close();
  expect(broken).toEqual([]);
  return final;
}

async function template(): Promise<string> {
  const directory = temporaryDirectory();
  await openStore(directory).close();
  return directory;
}

it("entries of a lane become final in order of commit, whatever becomes of them", { timeout: 60_000 }, async () => {
  const empty = await template();
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(calm, { maxLength: 30 }),
      attempts,
      async (places, steps, stream) => {
        const final = await play(empty, places, steps, () => stream.next().value);
        const numbers = final.map((name) => name.split("/").map(Number));
        for (const lane of LANES.keys()) {
          const order = numbers.filter(([of]) => of === lane).map(([, n]) => n ?? 0);
          expect(order).toEqual([...order].sort((a, b) => a - b));
        }
        expect(final).toHaveLength(steps.filter((step) => step.do === "append").length);
      },
    ),
    { numRuns: 100 },
  );
});

it(
  "cancels, merges and restarts at any moment: never out of order, twice or forgotten",
  { timeout: 60_000 },
  async () => {
    const empty = await template();
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(wild, { maxLength: 30 }),
        attempts,
        async (places, steps, stream) => {
          const final = await play(empty, places, steps, () => stream.next().value);
          expect(new Set(final).size).toBe(final.length);
        },
      ),
      { numRuns: 200 },
    );
  },
);
