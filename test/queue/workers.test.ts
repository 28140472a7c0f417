import fc from "fast-check";
import { expect, it } from "vitest";
import { Workers } from "../../src/queue/workers.ts";
import { turn, until } from "./helpers.ts";

interface Item {
  n: number;
  turns: number;
}

it("serves everything once, in order, never more at a time than its places", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.record({ turns: fc.nat({ max: 3 }), pause: fc.nat({ max: 3 }) }), { maxLength: 60 }),
      async (places, pushes) => {
        const begun: number[] = [];
        let inside = 0;
        const workers = new Workers<Item>(places, async ({ n, turns }) => {
          begun.push(n);
          inside += 1;
          expect(inside).toBeLessThanOrEqual(places);
          for (let i = 0; i < turns; i += 1) await turn();
          inside -= 1;
        });
        for (const [n, { turns, pause }] of pushes.entries()) {
          workers.push({ n, turns });
          // 1: a microtask, the moment in which a worker ends.
          if (pause === 1) await Promise.resolve();
          if (pause > 1) await turn();
        }
        await workers.idle();
        expect([begun, inside]).toEqual([pushes.map((_, n) => n), 0]);
      },
    ),
    { numRuns: 200 },
  );
});

it("clear forgets what waits and lets what runs end", async () => {
  const ends: (() => void)[] = [];
  const served: number[] = [];
  const workers = new Workers<Item>(1, ({ n }) => {
    served.push(n);
    return new Promise((end) => {
      ends.push(end);
    });
  });
  for (const n of [1, 2, 3]) workers.push({ n, turns: 0 });
  await until(() => expect(served).toEqual([1]));
  workers.clear();
  let idle = false;
  const whenIdle = workers.idle().then(() => (idle = true));
  await turn();
  expect(idle).toBe(false);
  ends[0]?.();
  await whenIdle;
  workers.push({ n: 4, turns: 0 });
  // Not within the push: whoever pushes may not be done with the item.
  expect(served).toEqual([1]);
  await until(() => expect(served).toEqual([1, 4]));
  ends[1]?.();
  await workers.idle();
});

it("keeps its order over a backlog of a hundred thousand", async () => {
  const served: number[] = [];
  const workers = new Workers<Item>(3, ({ n }) => Promise.resolve(void served.push(n)));
  for (let n = 0; n < 100_000; n += 1) workers.push({ n, turns: 0 });
  await workers.idle();
  expect(served).toHaveLength(100_000);
  expect(served.every((n, i) => n === i)).toBe(true);
});
