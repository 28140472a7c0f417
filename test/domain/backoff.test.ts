import fc from "fast-check";
import { expect, it } from "vitest";
import { backoffDelay } from "../../src/domain/backoff.ts";

const backoff = { baseMs: 1_000, capMs: 300_000 };

it("doubles from the base to the cap", () => {
  const longest = Array.from({ length: 12 }, (_, i) => backoffDelay(backoff, i + 1, () => 1));
  expect(longest).toEqual([
    1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000, 300_000,
  ]);
});

it("spreads between a tenth and the whole", () => {
  expect(backoffDelay(backoff, 4, () => 0)).toBe(800);
  expect(backoffDelay(backoff, 4, () => 0.5)).toBe(4_400);
});

it("is a whole number of milliseconds up to the cap, for any number of attempts", () => {
  const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const options = fc.record({ baseMs: fc.nat({ max: 100_000 }), capMs: fc.nat({ max: 1_000_000 }) });
  fc.assert(
    fc.property(options, fc.integer({ min: -1, max: 1e9 }), share, (options, attempt, random) => {
      const delay = backoffDelay(options, attempt, () => random);
      expect(Number.isInteger(delay)).toBe(true);
      expect(delay).toBeGreaterThanOrEqual(0);
      expect(delay).toBeLessThanOrEqual(options.capMs);
    }),
  );
});
