import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deriveToken } from "../../../src/domain/account.ts";
import { Child, until } from "./child.ts";
import { freePort } from "./ports.ts";

const MAIN = join(import.meta.dirname, "..", "..", "..", "src", "main.ts");

export interface BridgeSettings {
  appKey: string;
  appSecret: string;
  /** The DingTalk simulator. */
  dingtalkUrl: string;
  gatewayUrl: string;
  /** Instead of the derived token. */
  token?: string;
}

export interface BridgeHealth {
  status: string;
  components: Record<string, { status: string; code?: string; detail?: string; mend?: string }>;
  mends: string[];
}

/** The bridge as a daemon, started as a user starts it. */
export class Bridge {
  readonly port: number;
  readonly settings: BridgeSettings;
  readonly #dataDir: string;
  #child: Child | undefined;
  #log = "";

  private constructor(port: number, dataDir: string, settings: BridgeSettings) {
    this.port = port;
    this.#dataDir = dataDir;
    this.settings = settings;
  }

  static async start(settings: BridgeSettings): Promise<Bridge> {
    const dataDir = await mkdtemp(join(tmpdir(), "dingtalk-bridge-data-"));
    const bridge = new Bridge(await freePort(), dataDir, settings);
    await bridge.#start();
    return bridge;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get token(): string {
    return this.settings.token ?? deriveToken(this.settings.appKey, this.settings.appSecret);
  }

  get log(): string {
    return this.#log + (this.#child?.output ?? "");
  }

  async health(): Promise<BridgeHealth> {
    return (await (await fetch(`${this.url}/healthz`)).json()) as BridgeHealth;
  }

  /** Kills it and starts it again with its data. */
  async crash(): Promise<void> {
    await this.#child?.end("SIGKILL");
    this.#log = this.log;
    await this.#start();
  }

  /** Ends it and removes its data; returns the exit status. */
  async stop(): Promise<number> {
    const status = await this.#child?.end("SIGTERM");
    await rm(this.#dataDir, { recursive: true, force: true });
    return status ?? 0;
  }

  async #start(): Promise<void> {
    const { appKey, appSecret, dingtalkUrl, gatewayUrl, token } = this.settings;
    this.#child = new Child(process.execPath, [MAIN, "start"], {
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: this.#dataDir,
        DINGTALK_APP_KEY: appKey,
        DINGTALK_APP_SECRET: appSecret,
        DINGTALK_API_BASE: dingtalkUrl,
        DINGTALK_OAPI_BASE: dingtalkUrl,
        BRIDGE_GATEWAY_URL: gatewayUrl,
        BRIDGE_PORT: String(this.port),
        BRIDGE_DATA_DIR: join(this.#dataDir, "data"),
        ...(token !== undefined && { BRIDGE_TOKEN: token }),
      },
    });
    await until(this.#child, "healthy", async () => (await fetch(`${this.url}/healthz`)).status === 200, 30_000);
  }
}
