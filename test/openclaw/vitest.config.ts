import { defineConfig } from "vitest/config";

/** One real gateway at a time: it takes about a gigabyte of memory and half a minute to start. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.test.ts"],
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 300_000,
    bail: 1,
  },
});
