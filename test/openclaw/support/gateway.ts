import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child, until } from "./child.ts";
import { freePort } from "./ports.ts";
import { Terminal } from "./terminal.ts";
import { atLeast, consent, release } from "./release.ts";

const OPENCLAW = join(release().folder, "node_modules", "openclaw", "openclaw.mjs");
const PLUGIN = join(import.meta.dirname, "..", "..", "..", "openclaw-plugin");

type Json = Record<string, unknown>;

/** A real OpenClaw gateway with a state directory of its own. */
export class Gateway {
  readonly port: number;
  /** Added to the environment of every process of it. */
  readonly variables: Record<string, string> = {};
  readonly #home: string;
  readonly #modelUrl: string;
  #child: Child | undefined;
  #log = "";

  private constructor(home: string, port: number, modelUrl: string) {
    this.#home = home;
    this.port = port;
    this.#modelUrl = modelUrl;
  }

  /** Makes the directories and the configuration, without the plugin. */
  static async create(modelUrl: string): Promise<Gateway> {
    const home = await mkdtemp(join(tmpdir(), "dingtalk-bridge-openclaw-"));
    const gateway = new Gateway(home, await freePort(), modelUrl);
    await mkdir(gateway.workspace, { recursive: true });
    await gateway.#write(gateway.#baseConfig());
    return gateway;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Where the agent works: in the state directory, as by default. Some releases read pictures from nowhere else. */
  get workspace(): string {
    return join(this.#home, "state", "workspace");
  }

  /** Everything all its processes wrote. */
  get log(): string {
    return this.#log + (this.#child?.output ?? "");
  }

  /** Installs the plugin, or the one in another folder, as a user does. */
  async installPlugin(folder = PLUGIN): Promise<string> {
    // Older ones ask nothing, and `--link` with `--force` is an error there.
    const more = atLeast("2026.8.1") ? ["--force", ...consent()] : [];
    return await this.cli("plugins", "install", "--link", ...more, folder);
  }

  /** Runs `openclaw …` and returns what it wrote; throws when it fails. */
  async cli(...args: string[]): Promise<string> {
    const child = new Child(process.execPath, [OPENCLAW, ...args], { env: this.#env(), cwd: this.#home });
    const code = await child.exited;
    if (code !== 0) throw new Error(`openclaw ${args.join(" ")} ended with ${code}:\n${child.output}`);
    return child.output;
  }

  /** `openclaw …` in a terminal. */
  terminal(...args: string[]): Terminal {
    return new Terminal(process.execPath, [OPENCLAW, ...args], { env: this.#env(), cwd: this.#home });
  }

  /** What the configuration file says. */
  async config(): Promise<Json> {
    return JSON.parse(await readFile(this.#configPath, "utf8")) as Json;
  }

  /** Changes the configuration file; a running gateway reads it by itself. */
  async configure(change: (config: Json) => void): Promise<void> {
    const config = await this.config();
    change(config);
    await this.#write(config);
  }

  /** `openclaw gateway run`, with more flags when they are given. */
  async start(...flags: string[]): Promise<void> {
    if (this.#child) this.#log += this.#child.output;
    const child = new Child(process.execPath, [OPENCLAW, "gateway", "run", ...flags], {
      // With flags 2026.8 runs as the child of a wrapper and in a session of its own, and outlives a SIGKILL of that.
      env: { ...this.#env(), OPENCLAW_NO_RESPAWN: "1" },
      cwd: this.#home,
    });
    this.#child = child;
    await until(child, "ready", async () => (await fetch(`${this.url}/readyz`)).status === 200, 180_000);
  }

  async stop(): Promise<void> {
    await this.#child?.end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#child?.end("SIGKILL");
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.#home, { recursive: true, force: true, maxRetries: 3 });
  }

  get #configPath(): string {
    return join(this.#home, "openclaw.json");
  }

  async #write(config: Json): Promise<void> {
    await writeFile(this.#configPath, JSON.stringify(config, null, 2));
  }

  /** No variable of the caller reaches it: OpenClaw and the plugin both read several. */
  #env(): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"] ?? "",
      HOME: this.#home,
      OPENCLAW_STATE_DIR: join(this.#home, "state"),
      OPENCLAW_CONFIG_PATH: this.#configPath,
      NO_COLOR: "1",
      ...this.variables,
    };
  }

  #baseConfig(): Json {
    const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };
    const model = {
      id: "mock",
      name: "Mock",
      reasoning: false,
      input: ["text", "image"],
      cost,
      contextWindow: 128_000,
      maxTokens: 8192,
    };
    return {
      gateway: {
        port: this.port,
        mode: "local",
        bind: "loopback",
        auth: { mode: "token", token: "a-token-of-this-test-run" },
      },
      agents: {
        defaults: { workspace: this.workspace, model: { primary: "mock/mock" }, skipBootstrap: true },
      },
      models: {
        mode: "replace",
        providers: { mock: { baseUrl: this.#modelUrl, apiKey: "x", api: "openai-completions", models: [model] } },
      },
    };
  }
}
