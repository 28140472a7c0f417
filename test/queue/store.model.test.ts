import fc from "fast-check";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { type QueueName, type Settlement, conversationLane, userLane } from "../../src/queue/store.ts";
import { conversation, crashImage, entry, openStore, openWithHandle, temporaryDirectory } from "./helpers.ts";

interface ModelEntry {
  seq: number;
  queue: QueueName;
  id: string;
  lane: string;
  state: "open" | "delivered" | "cancelled" | "dead";
  begun: boolean;
  attempts: number;
  crashes: number;
  uncertain: boolean;
  dueAt: number;
  parts: boolean[];
  /** Whether each file that is to be fetched is there. */
  fetches: boolean[];
}
/** What the store should hold, in order of commit. */
type Model = {
  entries: ModelEntry[];
  /** Lane of a person → lane of the direct conversation, once known. */ direct: Map<string, string>;
};
type Real = { store: SqliteStore; directory: string; root: string };
type Command = fc.AsyncCommand<Model, Real>;

const PEOPLE = ["staff001", "staff002"];
const laneOf = (n: number): string =>
  n < 2 ? userLane("main", PEOPLE[n] ?? "") : conversationLane("main", `cid${n - 2}`);

function heads(model: Model, queue: QueueName): object[] {
  const seen = new Set<string>();
  return model.entries
    .filter((one) => one.queue === queue && one.state === "open" && !seen.has(one.lane) && seen.add(one.lane))
    .map(({ lane, seq, dueAt, crashes }) => ({ lane, seq, dueAt, crashes }));
}

function compare(model: Model, { store }: Real): void {
  for (const { parts, fetches, ...expected } of model.entries) {
    expect(store.find(expected.queue, expected.id)).toMatchObject(expected);
    expect(store.parts(expected.seq).map(({ receipt }) => receipt !== undefined)).toEqual(parts);
    expect(store.media.fetchesOf(expected.seq).map(({ result }) => result !== undefined)).toEqual(fetches);
  }
  const unfinished = model.entries.flatMap(({ seq, state, fetches }) =>
    state === "open" ? fetches.flatMap((there, n) => (there ? [] : [[seq, n]])) : [],
  );
  expect(store.media.unfinishedFetches().map(({ seq, n }) => [seq, n])).toEqual(unfinished);
  for (const queue of ["inbox", "outbox"] as const) {
    expect(store.heads(queue)).toEqual(heads(model, queue));
    const of = (state: string): number =>
      model.entries.filter((one) => one.queue === queue && one.state === state).length;
    expect(store.counts(queue)).toMatchObject({ open: of("open"), dead: of("dead") });
  }
  const dead = model.entries.filter(({ state }) => state === "dead").map(({ id }) => id);
  expect(store.deadLetters({ limit: 1_000 }).map(({ id }) => id)).toEqual(dead.reverse());
}

/** A command that acts on entry number `n` of the model, whatever that is, and then compares. */
function on(label: string, n: number, act: (one: ModelEntry, model: Model, real: Real) => Promise<void>): Command {
  return {
    check: ({ entries }) => entries.length > 0,
    run: async (model, real) => {
      const one = model.entries[n % model.entries.length];
      if (one) await act(one, model, real);
      compare(model, real);
    },
    toString: () => `${label}(${n})`,
  };
}

function append(queue: QueueName, key: number, lane: number, parts: number, seen: boolean): Command {
  return {
    check: () => true,
    run: async (model, real) => {
      const id = `main:${key}`;
      const known = model.entries.find((one) => one.queue === queue && one.id === id);
      const fields = { queue, lane: laneOf(lane), parts: Array.from({ length: parts }, (_, i) => i) };
      const fetches = fields.parts.map((i) => ({ path: [i], type: "image", downloadCode: "code" }) as const);
      const direct = seen ? conversation({ id: `cid${lane}`, staffId: PEOPLE[lane % 2] }) : undefined;
      const appended = await real.store.append(entry(`${key}`, { ...fields, fetches }), direct);
      expect(appended).toMatchObject({ id, duplicate: known !== undefined });
      if (known) expect(appended.seq).toBe(known.seq);
      else {
        const base = { begun: false, attempts: 0, crashes: 0, uncertain: false, dueAt: 0, state: "open" } as const;
        const { seq } = appended;
        const laneNow = queue === "outbox" ? (model.direct.get(fields.lane) ?? fields.lane) : fields.lane;
        expect(appended.lane).toBe(laneNow);
        const none = fields.parts.map(() => false);
        model.entries.push({ ...base, seq, queue, id, lane: laneNow, parts: none, fetches: [...none] });
        const [from, to] = [userLane("main", direct?.staffId ?? "?"), conversationLane("main", `cid${lane}`)];
        const moved = model.entries.filter(
          (one) => one.queue === "outbox" && one.lane === from && one.state === "open",
        );
        for (const one of moved) one.lane = to;
        if (direct) model.direct.set(from, to);
        expect(appended.merged).toEqual(moved.length > 0 ? { from, to } : undefined);
      }
      compare(model, real);
    },
    toString: () => `append(${queue} key ${key} lane ${lane} parts ${parts}${seen ? " seen" : ""})`,
  };
}

const begin = (n: number): Command =>
  on("begin", n, async (one, _model, { store }) => {
    expect((await store.begin(one.seq))?.id).toBe(one.state === "open" ? one.id : undefined);
    if (one.state === "open") one.begun = true;
  });

const settle = (n: number, kind: number): Command =>
  on(["delivered", "dead", "later", "later, counted and uncertain"][kind] ?? "", n, async (one, _model, { store }) => {
    const error = { code: "internal", detail: "" } as const;
    const settlements: Settlement[] = [
      { state: "delivered", at: 1 },
      { state: "dead", at: 1, error },
      { state: "open", dueAt: 2, counted: false },
      { state: "open", dueAt: 3, counted: true, uncertain: true, error },
    ];
    const settlement = settlements[kind];
    if (!settlement) return;
    await store.settle(one.seq, settlement);
    if (one.state !== "open") return;
    Object.assign(one, { state: settlement.state, begun: false });
    if (settlement.state !== "open") return;
    one.dueAt = settlement.dueAt;
    one.attempts += settlement.counted ? 1 : 0;
    one.uncertain ||= settlement.uncertain ?? false;
  });

const deliverPart = (n: number, part: number): Command =>
  on("deliverPart", n, async (one, _model, { store }) => {
    await store.deliverPart(one.seq, part, { route: "webhook", at: 1 });
    if (part < one.parts.length) one.parts[part] = true;
  });

const fetched = (n: number, file: number): Command =>
  on("fetched", n, async (one, _model, { store }) => {
    await store.media.fetchBegun(one.seq, file);
    await store.media.fetchSettled(one.seq, file, { error: { code: "media_expired", detail: "" } });
    if (file < one.fetches.length) one.fetches[file] = true;
  });

const recalled = (n: number): Command =>
  on("recalled", n, async (one, _model, { store }) => {
    const can = one.queue === "outbox" && one.state === "delivered";
    if (one.queue === "outbox") expect(await store.recalled("outbox", one.id, 1)).toBe(can);
    if (can) one.state = "cancelled";
  });

const cancel = (n: number): Command =>
  on("cancel", n, async (one, _model, { store }) => {
    const can = one.state === "open" && !one.begun && !one.parts.includes(true);
    expect(await store.cancel(one.queue, one.id, 1)).toBe(can);
    if (can) one.state = "cancelled";
  });

const replay = (n: number): Command =>
  on("replay", n, async (one, model, { store }) => {
    expect((await store.replay(one.queue, one.id, 9))?.id).toBe(one.state === "dead" ? one.id : undefined);
    if (one.state !== "dead") return;
    const lane = (one.queue === "outbox" && model.direct.get(one.lane)) || one.lane;
    Object.assign(one, { state: "open", attempts: 0, crashes: 0, dueAt: 9, lane });
  });

const discard = (n: number): Command =>
  on("discard", n, async (one, model, { store }) => {
    expect(await store.discard(one.queue, one.id)).toBe(one.state === "dead");
    if (one.state === "dead") model.entries = model.entries.filter((other) => other !== one);
  });

/** A new process finds the files; a crash leaves them as they are, with a write under way that nobody was told of. */
const restart = (clean: boolean): Command => ({
  check: () => true,
  run: async (model, real) => {
    if (clean) await real.store.close();
    const cutOff = clean ? undefined : real.store.append(entry("never", { id: "main:never" }));
    const directory = crashImage(real.directory, mkdtempSync(join(real.root, "process-")));
    await real.store.close();
    await cutOff;
    Object.assign(real, { ...openFast(directory), directory });
    for (const one of model.entries) {
      if (one.begun) Object.assign(one, { begun: false, crashes: one.crashes + 1, uncertain: true });
    }
    expect(real.store.find("inbox", "main:never")).toBeUndefined();
    compare(model, real);
  },
  toString: () => (clean ? "restart" : "crash"),
});

/** Without fsync, which only a crash of the machine could tell. */
function openFast(directory: string): { store: SqliteStore } {
  const { store, db } = openWithHandle(directory);
  db.exec("PRAGMA synchronous = OFF");
  return { store };
}

const number = fc.nat({ max: 50 });
const queue = fc.constantFrom<QueueName>("inbox", "outbox");
const commands = fc.commands(
  [
    fc.tuple(queue, fc.nat({ max: 12 }), fc.nat({ max: 3 }), fc.nat({ max: 2 })).map((of) => append(...of, false)),
    fc.tuple(fc.nat({ max: 12 }), fc.nat({ max: 1 })).map(([key, lane]) => append("inbox", key, lane, 0, true)),
    number.map(begin),
    fc.tuple(number, fc.nat({ max: 3 })).map((of) => settle(...of)),
    fc.tuple(number, fc.nat({ max: 2 })).map((of) => deliverPart(...of)),
    fc.tuple(number, fc.nat({ max: 2 })).map((of) => fetched(...of)),
    number.map(recalled),
    number.map(cancel),
    number.map(replay),
    number.map(discard),
    fc.boolean().map(restart),
  ],
  { maxCommands: 40, size: "+1" },
);

it("holds what an array would hold, crashes included", { timeout: 60_000 }, async () => {
  const root = temporaryDirectory();
  const template = temporaryDirectory();
  await openStore(template).close();
  await fc.assert(
    fc.asyncProperty(commands, async (sequence) => {
      const directory = crashImage(template, mkdtempSync(join(root, "run-")));
      const real: Real = { ...openFast(directory), directory, root };
      await fc.asyncModelRun(() => ({ model: { entries: [], direct: new Map() }, real }), sequence);
      await real.store.close();
    }),
    { numRuns: 200 },
  );
});
