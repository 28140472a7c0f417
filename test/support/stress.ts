import { expect } from "vitest";

/**
 * Ten at once, fifty times each: start and stop in any order must neither throw nor leave anything behind. Ends stopped,
 * then checks that a start still works.
 */
export async function stressStartStop(
  service: { start(): Promise<unknown>; stop(): Promise<unknown> },
  options: { rounds?: number; works?: () => void | Promise<void> } = {},
): Promise<void> {
  const { rounds = 50 } = options;
  const one = async (seed: number): Promise<void> => {
    for (let n = 0; n < rounds; n += 1) {
      if ((n * 7 + seed) % 3 === 0) await service.stop();
      else await service.start();
      if ((n + seed) % 2 === 0) await service.stop();
    }
  };
  await Promise.all(Array.from({ length: 10 }, (_, seed) => one(seed)));
  await service.stop();
  await service.start();
  await options.works?.();
  await service.stop();
  await expect(service.stop()).resolves.not.toThrow();
}
