import { defineConfig } from "vitest/config";
import { RELEASE_VARIABLE, SHORT_VARIABLE, releases } from "./support/release.ts";

/*
 * One project per release: those that `OPENCLAW_TEST_RELEASES` names, or the newest one. `!` after a name: only what matters most.
 * Two files at a time, each with a gateway of its own: a gateway mostly waits, and takes about a gigabyte.
 */
const wanted = (process.env["OPENCLAW_TEST_RELEASES"] || releases()[0]!.version).split(",");

export default defineConfig({
  test: {
    root: import.meta.dirname,
    maxWorkers: Number(process.env["OPENCLAW_TEST_WORKERS"] ?? 2),
    bail: Number(process.env["OPENCLAW_TEST_BAIL"] ?? 1),
    projects: wanted.map((one) => {
      const version = one.replace("!", "");
      const isShort = one.endsWith("!");
      return {
        extends: true,
        test: {
          name: version,
          include: isShort ? ["gateway.test.ts", "replies.test.ts"] : ["*.test.ts"],
          env: { [RELEASE_VARIABLE]: version, [SHORT_VARIABLE]: isShort ? "1" : "" },
          testTimeout: 180_000,
          hookTimeout: 300_000,
        },
      };
    }),
  },
});
