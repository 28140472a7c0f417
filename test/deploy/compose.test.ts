import { existsSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadConfig } from "../../src/config.ts";
import { CREDENTIALS } from "../config/support.ts";
import { ROOT, read } from "./files.ts";

interface Service {
  build: { context: string; dockerfile?: string; args: string[] };
  env_file: string;
  environment?: Record<string, string>;
  network_mode?: string;
  ports?: string[];
  volumes: string[];
  stop_grace_period: string;
  [key: string]: unknown;
}

interface Compose {
  name: string;
  services: Record<string, Service> & { bridge: Service };
  volumes: Record<string, unknown>;
}

const FILES = ["docker-compose.yml", "deploy/docker-compose.desktop.yml", "deploy/docker-compose.full.yml"];
const compose = (file: string): Compose => parse(read(file)) as Compose;

/** The settings of the bridge there, with the credentials of .env. */
const settings = ({ bridge }: Compose["services"]): ReturnType<typeof loadConfig>["config"] =>
  loadConfig({ env: { ...CREDENTIALS, ...bridge.environment }, homeDir: "/nowhere", cwd: "/nowhere" }).config;

describe.each(FILES)("%s", (file) => {
  const { services, volumes } = compose(file);
  const all = Object.values(services);

  it("runs the bridge without rights, as the others do", () => {
    expect(services.bridge).toMatchObject({
      image: "dingtalk-bridge",
      entrypoint: ["node", "/app/stay.mjs"],
      command: ["start"],
      read_only: true,
      tmpfs: ["/tmp"],
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
      restart: "unless-stopped",
      volumes: ["data:/data"],
      environment: { BRIDGE_DATA_DIR: "/data" },
    });
    expect(services.bridge).not.toHaveProperty("user");
    expect(services.bridge).not.toHaveProperty("privileged");
  });

  it("waits longer for the end than the bridge takes", () => {
    const { deadlineMs } = settings(services).shutdown;
    expect(Number.parseInt(services.bridge.stop_grace_period, 10) * 1_000).toBeGreaterThan(deadlineMs);
  });

  it("keeps the logs small and the data in named volumes", () => {
    for (const service of all) {
      expect(service["logging"]).toMatchObject({ options: { "max-size": "10m", "max-file": "5" } });
      for (const volume of service.volumes) expect(Object.keys(volumes)).toContain(volume.split(":")[0]);
    }
  });

  it("names files that are there, and .env beside .env.example", () => {
    const here = dirname(join(ROOT, file));
    for (const { build, env_file: env } of all) {
      const context = join(here, build.context);
      expect(relative(ROOT, context)).toBe("");
      expect(existsSync(join(context, build.dockerfile ?? "Dockerfile"))).toBe(true);
      expect(build.args.slice(0, 2)).toEqual(["NODE_IMAGE", "NPM_REGISTRY"]);
      expect(relative(ROOT, join(here, env))).toBe(".env");
    }
  });

  it("opens no port to other machines", () => {
    for (const { ports = [] } of all) for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    const { host } = settings(services).server;
    // On the host's network the bridge's own address is the door; elsewhere the published port is.
    expect(host).toBe(services.bridge.network_mode === "host" ? "127.0.0.1" : "0.0.0.0");
  });

  it("says its first lines as they are used", () => {
    const up = file === "docker-compose.yml" ? "docker compose up -d" : `docker compose -f ${file} up -d`;
    expect(read(file)).toContain(`#   ${up}\n`);
  });
});

it("Docker Desktop: the defaults of a gateway on the machine fit", () => {
  const { services } = compose("deploy/docker-compose.desktop.yml");
  const { gateway, server } = settings(services);
  const usual = loadConfig({ env: CREDENTIALS, homeDir: "/nowhere" }).config;
  expect(gateway.url).toBe(usual.gateway.url.replace("127.0.0.1", "host.docker.internal"));
  expect(services.bridge.ports).toEqual([`127.0.0.1:${usual.server.port}:${server.port}`]);
  expect(server.publicUrl).toBe(`http://127.0.0.1:${usual.server.port}`);
});

it("with OpenClaw: the two reach each other by name", () => {
  const { services } = compose("deploy/docker-compose.full.yml");
  const { gateway, server } = settings(services);
  expect(Object.keys(services)).toContain(new URL(gateway.url).hostname);
  expect(server.publicUrl).toBe(`http://bridge:${server.port}`);
  expect(read("deploy/docker/openclaw.sh")).toContain(`--bridge-url ${server.publicUrl} `);
  expect(services["openclaw"]).toMatchObject({ init: true, cap_drop: ["ALL"], restart: "unless-stopped" });
});
