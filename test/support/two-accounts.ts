import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { deriveToken } from "../../src/domain/account.ts";
import { APP, type TestBridge, startBridge } from "./bridge.ts";

export const SECOND = { appKey: "dingtestkey00000002", appSecret: "test-secret-two-of-two" };
/** Speaks for the account `support` only. */
export const SECOND_TOKEN = { authorization: `Bearer ${deriveToken(SECOND.appKey, SECOND.appSecret)}` };

/** A bridge with the accounts `main` and `support`, each with a token of its own, connected. */
export async function startTwo(
  options: Parameters<typeof startBridge>[0] = {},
  support: object = {},
): Promise<TestBridge> {
  const directory = mkdtempSync(join(tmpdir(), "bridge-test-config-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, "config.json5");
  writeFileSync(file, JSON.stringify({ accounts: { main: APP, support: { ...SECOND, ...support } } }));
  const bridge = await startBridge({
    ...options,
    dingtalk: { ...options.dingtalk, apps: [APP, SECOND] },
    env: { ...options.env, BRIDGE_CONFIG: file, DINGTALK_APP_KEY: "", DINGTALK_APP_SECRET: "" },
    unconnected: true,
  });
  await expect.poll(() => bridge.dingtalk.connections.length).toBe(2);
  return bridge;
}
