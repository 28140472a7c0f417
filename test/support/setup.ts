import fc from "fast-check";
import { afterAll, expect } from "vitest";

// A gate has to answer the same for the same code; FAST_CHECK_SEED=random goes where no run was yet.
const SEED = 20_261_123;
const seed = process.env["FAST_CHECK_SEED"];
if (seed !== undefined && seed !== "random" && !/^-?\d+$/.test(seed)) {
  throw new Error(`FAST_CHECK_SEED is "${seed}": give a whole number, or "random".`);
}
if (seed !== "random") fc.configureGlobal({ seed: seed === undefined ? SEED : Number(seed) });

/** Resources that a test file may not leave behind; pipes and the like belong to the test runner. */
const OWNED = new Set(["TCPServerWrap", "TCPSocketWrap", "Timeout", "FSReqCallback"]);

const count = (): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (OWNED.has(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
};

const before = count();

const LET_GO_MS = 3_000;
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10));

/** Every file is checked: what it opened it must have closed. Sockets may need a turn or two to be let go. */
afterAll(async () => {
  const surplus = (): string[] =>
    [...count()].filter(([kind, n]) => n > (before.get(kind) ?? 0)).map(([kind, n]) => `${kind}: ${n}`);
  const until = performance.now() + LET_GO_MS;
  while (surplus().length > 0 && performance.now() < until) await turn();
  expect(surplus(), "left open by this test file").toEqual([]);
});
