import { expect, it } from "vitest";
import { tellWhenSlow } from "../../src/cli/slow.ts";
import { Said } from "./support.ts";

it("says once what takes long, and nothing of what does not, or fails", async () => {
  const stderr = new Said();
  const work = Promise.withResolvers<number>();
  const done = tellWhenSlow(stderr, "still at it", () => work.promise, 0);
  await expect.poll(() => stderr.text).toBe("still at it\n");
  work.resolve(1);
  expect(await done).toBe(1);
  expect(await tellWhenSlow(stderr, "never", () => Promise.resolve(2))).toBe(2);
  await expect(tellWhenSlow(stderr, "never", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(stderr.text).toBe("still at it\n");
});
