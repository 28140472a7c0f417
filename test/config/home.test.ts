import type * as Os from "node:os";
import { expect, test, vi } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { CREDENTIALS } from "./support.ts";

vi.mock("node:os", async (original) => ({
  ...(await original<typeof Os>()),
  homedir: () => {
    throw new Error("ENOENT: no such file or directory, uv_os_homedir");
  },
}));

test("a user without a home directory can run it", () => {
  const { config } = loadConfig({ env: { ...CREDENTIALS, BRIDGE_DATA_DIR: "~/data" } });
  expect(config.dataDir).toBe("/data");
});
