import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { type App, type Overrides, type ReloadReport, createApp, createLogger, loadConfig } from "../../src/app.ts";
import { deriveToken } from "../../src/domain/account.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { SimulatorOptions } from "../../src/sandbox/dingtalk-types.ts";
import {
  type GatewaySimulator,
  type GatewaySimulatorOptions,
  startGatewaySimulator,
} from "../../src/sandbox/gateway-simulator.ts";

export const APP = { appKey: "dingtestkey00000001", appSecret: "test-secret-one-of-two" };
export const TOKEN = deriveToken(APP.appKey, APP.appSecret);

/** Log lines as objects, for tests that look for one or make sure that none tells a secret. */
export class LogCapture extends Writable {
  readonly lines: Record<string, unknown>[] = [];
  text = "";

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    this.lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
    done();
  }
}

export interface TestBridge {
  dingtalk: DingtalkSimulator;
  gateway: GatewaySimulator;
  app: App;
  logs: LogCapture;
  dataDir: string;
  url: string;
  /** Calls the API with the account's token. */
  api(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Reads the settings again, from where they were read at the start. */
  reload(): Promise<ReloadReport>;
  /** Stops the app and starts another on the same data directory. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** Real daemon between the two simulators, in this process, connected. */
export async function startBridge(
  options: {
    dingtalk?: Partial<SimulatorOptions>;
    gateway?: Partial<GatewaySimulatorOptions>;
    env?: Record<string, string>;
    overrides?: Partial<Overrides>;
    /** What stands in the data directory before the first start. */
    prepare?: (dataDir: string) => void;
    /** Do not wait for the Stream. */
    unconnected?: boolean;
  } = {},
): Promise<TestBridge> {
  const dataDir = mkdtempSync(join(tmpdir(), "bridge-test-"));
  options.prepare?.(dataDir);
  const dingtalk = await startDingtalkSimulator({ apps: [APP], ...options.dingtalk });
  const gateway = await startGatewaySimulator({
    accounts: [{ id: "main", appKey: APP.appKey, token: TOKEN }],
    ...options.gateway,
  });
  const logs = new LogCapture();
  const env = {
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_GATEWAY_URL: gateway.url,
    BRIDGE_PORT: "0",
    BRIDGE_DATA_DIR: dataDir,
    ...options.env,
  };
  const make = (): App =>
    createApp(loadConfig({ env }).config, {
      version: "0.0.0-test",
      logger: createLogger({ level: "debug", version: "0.0.0-test", destination: logs }),
      gatewayTimings: { wrongMs: 200, rightMs: 60_000 },
      gatewayCooldown: { baseMs: 100, capMs: 200 },
      ...options.overrides,
    });
  const bridge: { app: App | undefined } = { app: undefined };
  const start = async (): Promise<void> => {
    const app = make();
    bridge.app = app;
    const connected = options.unconnected ? Promise.resolve() : dingtalk.waitFor("connected");
    await app.start();
    gateway.bridgeUrl = `http://127.0.0.1:${app.port}`;
    await connected;
  };
  const stop = async (): Promise<boolean> => (await bridge.app?.stop({ signal: AbortSignal.timeout(10_000) })) ?? true;
  const close = async (): Promise<void> => {
    await stop();
    await gateway.close();
    await dingtalk.close();
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    dingtalk,
    gateway,
    logs,
    dataDir,
    get app() {
      if (!bridge.app) throw new Error("not started");
      return bridge.app;
    },
    get url() {
      return `http://127.0.0.1:${bridge.app?.port}`;
    },
    api(method, path, body, headers = {}) {
      return fetch(new URL(path, `http://127.0.0.1:${bridge.app?.port}`), {
        method,
        headers: {
          authorization: `Bearer ${TOKEN}`,
          connection: "close",
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
    },
    async reload() {
      if (!bridge.app) throw new Error("not started");
      return bridge.app.reload(loadConfig({ env }).config);
    },
    async restart() {
      await stop();
      await start();
    },
    close,
  };
}
