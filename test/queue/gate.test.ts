import fc from "fast-check";
import { beforeEach, afterEach, describe, expect, it, vi } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import { Gate, type GateOptions } from "../../src/queue/gate.ts";
import { delivered, silent } from "./runner.ts";

const refused: Outcome = { kind: "retry", class: "peer-away", code: "gateway_unreachable" };
const broken: Outcome = { kind: "retry", class: "entry", code: "gateway_unavailable" };
const misconfigured: Outcome = { kind: "retry", class: "peer-away", code: "gateway_misconfigured" };
const lost: Outcome = { kind: "uncertain", code: "dingtalk_timeout" };

const gates: Gate[] = [];
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  for (const gate of gates.splice(0)) gate.close();
  if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

function makeGate(options: Partial<GateOptions> = {}): Gate {
  const gate = new Gate({
    name: "peer",
    failures: 3,
    cooldown: { baseMs: 1_000, capMs: 4_000 },
    random: () => 1,
    logger: silent,
    ...options,
  });
  gates.push(gate);
  return gate;
}

const attempt = (gate: Gate, outcome: Outcome, lane?: string): Promise<Outcome> =>
  gate.observe(() => Promise.resolve(outcome), lane);

async function shut(gate: Gate): Promise<void> {
  for (let n = 0; n < 3; n += 1) await attempt(gate, refused);
  expect(gate.isOpen).toBe(false);
}

/** Somebody at the gate, who notes when he is called. */
function visitor(gate: Gate, called: string[], name: string) {
  const wake = (): void => void called.push(name);
  return { enter: () => gate.enter(wake), leave: () => gate.leave(wake) };
}

/** So many wait in the row of a shut gate. */
function rowOf(gate: Gate, names: string[]) {
  const called: string[] = [];
  const visitors = new Map(names.map((name) => [name, visitor(gate, called, name)]));
  for (const one of visitors.values()) expect(one.enter()).toBe(false);
  return { called, get: (name: string) => visitors.get(name) ?? expect.fail(name) };
}

describe("shutting", () => {
  it("comes after so many failures in a row, and an answer in between begins the count again", async () => {
    const changes: boolean[] = [];
    const gate = makeGate({ onChange: (open) => changes.push(open) });
    for (const outcome of [refused, refused, delivered, refused, refused]) await attempt(gate, outcome);
    expect([gate.isOpen, gate.shutSince, changes]).toEqual([true, undefined, []]);
    await attempt(gate, refused);
    expect([gate.isOpen, changes]).toEqual([false, [false]]);
    expect(gate.shutSince).toBe(performance.now());
  });

  it("takes any answer for a sign of life, throttles and refusals included", async () => {
    const gate = makeGate();
    const answers: Outcome[] = [
      { kind: "rejected", code: "no_route", detail: "" },
      { kind: "held", afterMs: 1 },
      { kind: "retry", class: "peer-away", code: "dingtalk_throttled" },
      { kind: "retry", class: "peer-away", code: "recipient_throttled" },
      { kind: "retry", class: "peer-away", code: "account_unknown" },
      { kind: "retry", class: "entry", code: "dingtalk_rejected" },
    ];
    for (const answer of answers) for (let n = 0; n < 4; n += 1) await attempt(gate, answer);
    await attempt(gate, refused);
    await attempt(gate, refused);
    await attempt(gate, { kind: "held", afterMs: 1 });
    await attempt(gate, refused);
    await attempt(gate, refused);
    expect(gate.isOpen).toBe(true);
  });

  it("comes at once where no attempt can succeed", async () => {
    const gate = makeGate({ shutsAtOnce: (outcome) => "code" in outcome && outcome.code === "gateway_misconfigured" });
    await attempt(gate, misconfigured, "a");
    expect(gate.isOpen).toBe(false);
  });

  it.each<[string, Outcome]>([
    ["5xx", broken],
    ["no answer", lost],
    ["a timeout", { kind: "retry", class: "peer-away", code: "gateway_timeout" }],
  ])("is not for one lane's %s, but for two lanes'", async (_name, outcome) => {
    const gate = makeGate();
    for (let n = 0; n < 20; n += 1) await attempt(gate, outcome, "poisoned");
    expect(gate.isOpen).toBe(true);
    await attempt(gate, delivered, "sound");
    await attempt(gate, outcome, "poisoned");
    await attempt(gate, outcome, "poisoned");
    await attempt(gate, outcome, "other");
    expect(gate.isOpen).toBe(false);
  });

  it("decides whose fault a failure is: the entry's while open, the peer's while shut", async () => {
    const gate = makeGate();
    expect(await attempt(gate, broken, "a")).toMatchObject({ class: "entry" });
    expect(await attempt(gate, lost, "b")).toMatchObject({ kind: "uncertain", counted: true });
    expect(await attempt(gate, broken, "c")).toMatchObject({ class: "peer-away" });
    const row = rowOf(gate, ["probe"]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(row.get("probe").enter()).toBe(true);
    expect(await attempt(gate, lost, "a")).toMatchObject({ kind: "uncertain", counted: false });
    row.get("probe").leave();
  });

  it("turns back what was let in before and has not begun: it is not tried, and nothing is held against it", async () => {
    const gate = makeGate();
    await shut(gate);
    const tried = vi.fn(() => Promise.resolve(delivered));
    expect(await gate.observe(tried)).toMatchObject({ kind: "retry", class: "peer-away", code: "gateway_unreachable" });
    expect(tried).not.toHaveBeenCalled();
  });

  it("learns nothing from attempts that began before: neither late failures nor late answers", async () => {
    const gate = makeGate();
    const ends: ((outcome: Outcome) => void)[] = [];
    const late = Array.from({ length: 8 }, () => gate.observe(() => new Promise((end) => void ends.push(end))));
    await shut(gate);
    ends[0]?.(delivered);
    expect(await late[0]).toEqual(delivered);
    expect(gate.isOpen).toBe(false);
    const row = rowOf(gate, ["probe"]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(row.get("probe").enter()).toBe(true);
    await attempt(gate, delivered);
    expect(gate.isOpen).toBe(true);
    for (const end of ends) end(broken);
    for (const one of late.slice(1)) expect(await one).toMatchObject({ class: "peer-away" });
    expect(gate.isOpen).toBe(true);
    row.get("probe").leave();
  });

  it("hands on an exception, and does not take it for an answer", async () => {
    const gate = makeGate();
    const fail = (): Promise<Outcome> => gate.observe(() => Promise.reject(new Error("a defect")));
    for (let n = 0; n < 5; n += 1) await expect(fail()).rejects.toThrow("a defect");
    expect(gate.isOpen).toBe(true);
    await shut(gate);
    const row = rowOf(gate, ["a"]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(row.get("a").enter()).toBe(true);
    await expect(fail()).rejects.toThrow("a defect");
    expect(gate.isOpen).toBe(false);
    row.get("a").leave();
  });
});

describe("probes", () => {
  it("go one at a time, each after the cooldown, which grows to its cap, and rotate", async () => {
    const gate = makeGate();
    await shut(gate);
    const row = rowOf(gate, ["a", "b", "c"]);
    const order = ["a", "b", "c", "a", "b"];
    for (const [n, wait] of [1_000, 2_000, 4_000, 4_000, 4_000].entries()) {
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect(row.called).toHaveLength(n);
      await vi.advanceTimersByTimeAsync(1);
      expect(row.called).toEqual(order.slice(0, n + 1));
      const one = row.get(order[n] ?? "");
      expect(one.enter()).toBe(true);
      const other = row.get(order[n + 1] ?? "c");
      expect([other.enter(), gate.admits]).toEqual([false, true]);
      expect(await attempt(gate, refused)).toMatchObject({ class: "peer-away" });
      expect(gate.admits).toBe(false);
      one.leave();
      expect(one.enter()).toBe(false);
    }
  });

  it("that do not get to the peer are followed by the next at once", async () => {
    const gate = makeGate();
    await shut(gate);
    const row = rowOf(gate, ["a", "b", "c"]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(row.get("a").enter()).toBe(true);
    row.get("a").leave();
    // Gone before it came, e.g. its entry was cancelled.
    row.get("b").leave();
    expect(row.called).toEqual(["a", "b", "c"]);
    expect(row.get("c").enter()).toBe(true);
  });

  it("never call who has left the row, and leave nothing of him", async () => {
    const gate = makeGate();
    await shut(gate);
    const row = rowOf(gate, ["a", "b"]);
    row.get("a").leave();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(row.called).toEqual(["b"]);
    row.get("b").leave();
    // Nobody is left: the next to come is the probe.
    expect(visitor(gate, [], "d").enter()).toBe(true);
  });

  it("go at once when somebody else found the peer back, one at a time all the same", async () => {
    const gate = makeGate();
    await shut(gate);
    const row = rowOf(gate, ["a", "b"]);
    gate.probeNow();
    gate.probeNow();
    expect(row.called).toEqual(["a"]);
    expect(row.get("a").enter()).toBe(true);
    let end: ((outcome: Outcome) => void) | undefined;
    const probe = gate.observe(() => new Promise((resolve) => (end = resolve)));
    gate.probeNow();
    expect(await attempt(gate, delivered)).toMatchObject({ kind: "retry" });
    end?.(refused);
    await probe;
    row.get("a").leave();
    await vi.advanceTimersByTimeAsync(0);
    expect(row.called).toEqual(["a", "b"]);
    gate.probeNow();
  });

  it("keep no place: after a thousand of them as many are let in as before", async () => {
    const gate = makeGate({ concurrency: 4, cooldown: { baseMs: 1, capMs: 1 } });
    await shut(gate);
    const called: string[] = [];
    for (let n = 0; n < 1_000; n += 1) {
      const one = visitor(gate, called, "x");
      one.enter();
      await vi.advanceTimersByTimeAsync(1);
      expect(one.enter()).toBe(true);
      await attempt(gate, n < 999 ? refused : delivered);
      one.leave();
    }
    for (let n = 0; n < 5; n += 1) await attempt(gate, delivered);
    const inside = Array.from({ length: 10 }, () => visitor(gate, called, "y").enter());
    expect(inside.filter(Boolean)).toHaveLength(4);
  });

  it("end with the stop: an attempt that was cut off is no sign of life", async () => {
    const gate = makeGate();
    await shut(gate);
    const row = rowOf(gate, ["a"]);
    gate.probeNow();
    row.get("a").enter();
    await attempt(gate, { kind: "retry", class: "peer-away", code: "interrupted" });
    expect(gate.isOpen).toBe(false);
    gate.close();
    await vi.advanceTimersByTimeAsync(60_000);
    gate.pause(1_000);
    expect(row.called).toEqual(["a"]);
  });
});

describe("opening", () => {
  it("lets two in, twice as many after each success, and at last all it may", async () => {
    const gate = makeGate({ concurrency: 8 });
    await shut(gate);
    const names = Array.from({ length: 30 }, (_, n) => `${n}`);
    const row = rowOf(gate, names);
    gate.probeNow();
    row.get("0").enter();
    await attempt(gate, delivered);
    row.get("0").leave();
    expect(row.called).toEqual(["0", "1", "2"]);
    // A newcomer goes behind those who wait.
    expect(visitor(gate, [], "new").enter()).toBe(false);
    expect([row.get("1").enter(), row.get("2").enter()]).toEqual([true, true]);
    for (const inside of [4, 8, 8]) {
      await attempt(gate, delivered);
      expect(row.called).toHaveLength(1 + inside);
    }
    row.get("1").leave();
    expect(row.called).toHaveLength(10);
  });

  it("waits while the peer asks for patience, for the longest it asked for", async () => {
    const gate = makeGate();
    gate.pause(5_000);
    gate.pause(1_000);
    expect([gate.isOpen, gate.admits, gate.shutSince]).toEqual([false, false, undefined]);
    const row = rowOf(gate, ["a", "b"]);
    expect(await attempt(gate, delivered)).toMatchObject({ code: "pacing", afterMs: 5_000 });
    await vi.advanceTimersByTimeAsync(4_999);
    expect(row.called).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(row.called).toEqual(["a", "b"]);
  });

  it("does not probe while paused, and does afterwards", async () => {
    const gate = makeGate();
    await shut(gate);
    gate.pause(10_000);
    const row = rowOf(gate, ["a"]);
    await vi.advanceTimersByTimeAsync(9_999);
    expect(row.called).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(row.called).toEqual(["a"]);
    expect(row.get("a").enter()).toBe(true);
  });
});

it("nobody waits for ever and never are too many inside, whatever the peer does", async () => {
  vi.useRealTimers();
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.constantFrom(refused, broken, lost, misconfigured, delivered, new Error("a defect")), {
        maxLength: 60,
      }),
      fc.infiniteStream(fc.record({ turns: fc.nat({ max: 3 }), gives: fc.constantFrom("up", "on", "on", "on") })),
      async (concurrency, script, whims) => {
        const gate = new Gate({
          name: "peer",
          failures: 2,
          cooldown: { baseMs: 0, capMs: 0 },
          concurrency,
          logger: silent,
        });
        const outcomes = [...script];
        let inside = 0;
        let atPeer = 0;
        let most = 0;
        const live = async (n: number): Promise<void> => {
          for (let done = false; !done;) {
            let called: (() => void) | undefined;
            const wake = (): void => called?.();
            while (!gate.enter(wake)) {
              await new Promise<void>((resolve) => (called = resolve));
              const { value } = whims.next();
              if (value.gives === "up") gate.leave(wake);
            }
            inside += 1;
            const { value } = whims.next();
            const one = async (): Promise<Outcome> => {
              atPeer += 1;
              most = Math.max(most, atPeer);
              for (let i = 0; i < value.turns; i += 1) await new Promise((resolve) => setImmediate(resolve));
              atPeer -= 1;
              const outcome = outcomes.shift() ?? delivered;
              if (outcome instanceof Error) throw outcome;
              return outcome;
            };
            done = (await gate.observe(one, `${n}`).catch(() => lost)).kind === "delivered";
            inside -= 1;
            gate.leave(wake);
          }
        };
        await Promise.all(Array.from({ length: 12 }, (_, n) => live(n)));
        expect(inside).toBe(0);
        expect(most).toBeLessThanOrEqual(concurrency);
        gate.close();
      },
    ),
    { numRuns: 200 },
  );
});
