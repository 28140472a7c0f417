import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import type { Finding } from "../../src/domain/finding.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { SimulatorOptions } from "../../src/sandbox/dingtalk-types.ts";
import {
  type GatewaySimulator,
  type GatewaySimulatorOptions,
  startGatewaySimulator,
} from "../../src/sandbox/gateway-simulator.ts";
import { freePort } from "../support/daemon.ts";
import { APP, TOKEN } from "../support/bridge.ts";
import { cli } from "./support.ts";

/** Both sides of a bridge, and the settings of one that does not run. */
export interface Surroundings {
  dingtalk: DingtalkSimulator;
  gateway: GatewaySimulator;
  dir: string;
  env: Record<string, string>;
}

/** Everything as it should be, unless the test says otherwise. Gone when the test ends. */
export async function surroundings(
  options: {
    dingtalk?: Partial<SimulatorOptions>;
    gateway?: Partial<GatewaySimulatorOptions>;
    env?: Record<string, string>;
  } = {},
): Promise<Surroundings> {
  const dingtalk = await startDingtalkSimulator({ apps: [APP], ...options.dingtalk });
  const accounts = [{ id: "main", appKey: APP.appKey, token: TOKEN }];
  const gateway = await startGatewaySimulator({ accounts, ...options.gateway });
  const dir = mkdtempSync(join(tmpdir(), "bridge-doctor-"));
  onTestFinished(async () => {
    await gateway.close();
    await dingtalk.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const env = {
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_GATEWAY_URL: gateway.url,
    BRIDGE_PORT: String(await freePort()),
    BRIDGE_DATA_DIR: join(dir, "data"),
    BRIDGE_ALERTS_TO: "user:staff001",
    // Every runner has more than this.
    BRIDGE_DISK_MIN_FREE_MB: "1",
    HOME: dir,
    ...options.env,
  };
  return { dingtalk, gateway, dir, env };
}

export interface Examined {
  status: number;
  ok: boolean;
  findings: Finding[];
  stderr: string;
  /** `level code` of a check, each finding of it. */
  of: (check: Finding["check"]) => string[];
}

/** `dingtalk-bridge doctor --json`. */
export async function examine(env: Record<string, string>, ...args: string[]): Promise<Examined> {
  const { status, stdout, stderr } = await cli(["doctor", "--json", ...args], { env });
  for (const secret of [APP.appSecret, TOKEN, "    at "]) expect(stdout + stderr).not.toContain(secret);
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  const of = (check: Finding["check"]): string[] =>
    findings.flatMap((one) => (one.check === check ? [`${one.level} ${one.code}`] : []));
  return { status, ok, findings, stderr, of };
}
