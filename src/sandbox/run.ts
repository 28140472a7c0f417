import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type App, createApp, createLogger, loadConfig } from "../app.ts";
import { deriveToken } from "../domain/account.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "./dingtalk-simulator.ts";
import { type GatewaySimulator, startGatewaySimulator } from "./gateway-simulator.ts";

export interface SandboxOptions {
  version: string;
  /** A gateway of one's own; without it the scripted one answers. */
  gatewayUrl?: string;
  /** Port of the bridge's API; 0 lets the system choose. */
  port: number;
}

/** DingTalk simulated, the real daemon, and a gateway, in one process with a data directory of its own. */
export interface Sandbox {
  dingtalk: DingtalkSimulator;
  /** Undefined when a gateway of one's own is used. */
  gateway: GatewaySimulator | undefined;
  app: App;
  bridgeUrl: string;
  /** Where the daemon's log lines went. */
  logFile: string;
  /** What the bridge has not done yet: messages to the gateway, messages and cards to DingTalk. */
  pending(): Promise<number>;
  appKey: string;
  appSecret: string;
  /** Stops everything and deletes the data directory. */
  close(): Promise<void>;
}

const APP_KEY = "dingsandbox000000001";
const APP_SECRET = "sandbox-secret-of-no-worth";

export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const home = mkdtempSync(join(tmpdir(), "dingtalk-bridge-sandbox-"));
  const logFile = join(home, "bridge.log");
  const log = createWriteStream(logFile);
  const token = deriveToken(APP_KEY, APP_SECRET);
  const dingtalk = await startDingtalkSimulator({
    apps: [{ appKey: APP_KEY, appSecret: APP_SECRET, robotName: "沙盒机器人" }],
    // Nobody can publish a template here, and a gateway of one's own may have its own.
    knobs: { cardTemplates: ["*"] },
  });
  const gateway =
    options.gatewayUrl === undefined
      ? await startGatewaySimulator({
          accounts: [{ id: "main", appKey: APP_KEY, token }],
          mode: { kind: "demo" },
        })
      : undefined;
  const { config } = loadConfig({
    env: {
      DINGTALK_APP_KEY: APP_KEY,
      DINGTALK_APP_SECRET: APP_SECRET,
      DINGTALK_API_BASE: dingtalk.url,
      DINGTALK_OAPI_BASE: dingtalk.url,
      BRIDGE_GATEWAY_URL: options.gatewayUrl ?? gateway?.url,
      BRIDGE_PORT: String(options.port),
      BRIDGE_DATA_DIR: join(home, "data"),
    },
  });
  const app = createApp(config, {
    version: options.version,
    logger: createLogger({ level: "debug", version: options.version, destination: log }),
  });
  const close = async (): Promise<void> => {
    await app.stop({ signal: AbortSignal.timeout(5_000) });
    await gateway?.close();
    await dingtalk.close();
    await new Promise((resolve) => log.end(resolve));
    rmSync(home, { recursive: true, force: true });
  };
  try {
    const connected = dingtalk.waitFor("connected", () => true, 15_000);
    await app.start();
    const bridgeUrl = `http://127.0.0.1:${app.port}`;
    if (gateway) gateway.bridgeUrl = bridgeUrl;
    await connected;
    const pending = (): Promise<number> => openEntries(bridgeUrl, token);
    return { dingtalk, gateway, app, bridgeUrl, logFile, pending, appKey: APP_KEY, appSecret: APP_SECRET, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openEntries(bridgeUrl: string, token: string): Promise<number> {
  const response = await fetch(new URL("/v1/status", bridgeUrl), { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`the bridge's status: ${response.status}`);
  const { queues } = (await response.json()) as { queues: { inbox: { open: number }; outbox: { open: number } } };
  return queues.inbox.open + queues.outbox.open;
}
