import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const json = process.env["VITEST_JSON"];

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "openclaw-plugin/test/*.test.ts"],
    exclude: ["test/openclaw/**", "**/node_modules/**"],
    // Most tests wait more than they reckon; on two cores one worker, the usual number, would leave one of them idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 20_000,
    hookTimeout: 20_000,
    // What is waited for may take its time on a busy machine; only a test that fails waits so long.
    expect: { poll: { timeout: 15_000 } },
    setupFiles: ["test/support/setup.ts"],
    ...(json !== undefined && { reporters: ["default", "json"], outputFile: { json } }),
  },
});
