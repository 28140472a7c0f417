import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT, instructions, read } from "./files.ts";

const manifest = JSON.parse(read("package.json")) as { bin: Record<string, string>; scripts: Record<string, string> };

describe.each(["Dockerfile", "deploy/openclaw.Dockerfile"])("%s", (file) => {
  const all = instructions(file);
  const of = (name: string): string[] => all.filter(([found]) => found === name).map(([, text]) => text);
  const last = all.slice(all.findLastIndex(([name]) => name === "FROM"));

  it("takes every base image and the npm registry from build arguments", () => {
    expect(of("FROM").length).toBeGreaterThan(1);
    for (const from of of("FROM")) expect(from).toMatch(/^\$\{NODE_IMAGE\}( AS \w+)?$/);
    expect(of("ARG")).toContainEqual(expect.stringMatching(/^NODE_IMAGE=node:24-/));
    const installs = of("RUN").filter((run) => /npm (ci|install)/.test(run));
    expect(installs.length).toBeGreaterThan(1);
    for (const run of installs) expect(run).toContain('${NPM_REGISTRY:+"--registry=$NPM_REGISTRY"}');
  });

  it("ends as an unprivileged user with a health check", () => {
    const names = last.map(([name]) => name);
    expect(names).toContain("HEALTHCHECK");
    expect(last).toContainEqual(["USER", "node"]);
    expect(names.lastIndexOf("RUN")).toBeLessThan(names.indexOf("USER"));
  });

  it("copies what is there and what .dockerignore lets through, and nothing by an address", () => {
    expect(of("ADD")).toEqual([]);
    const passed = read(".dockerignore").split("\n");
    const sources = of("COPY").filter((copy) => !copy.startsWith("--from"));
    for (const source of sources.flatMap((copy) => copy.split(" ").slice(0, -1))) {
      expect(existsSync(join(ROOT, source)), source).toBe(true);
      const folders = [source, dirname(source), dirname(dirname(source))];
      expect(
        folders.some((folder) => passed.includes(`!${folder}`)),
        source,
      ).toBe(true);
    }
  });

  it("packs the plugin", () => {
    expect(of("RUN").join("\n")).toContain("npm run --if-present plugin:pack");
  });
});

describe("Dockerfile", () => {
  const all = instructions("Dockerfile");

  it("installs without install scripts, and only what runs in the end", () => {
    const installs = all.filter(([name, text]) => name === "RUN" && text.includes("npm ci")).map(([, text]) => text);
    for (const run of installs) expect(run).toContain("--ignore-scripts");
    expect(installs.filter((run) => run.includes("--omit=dev"))).toHaveLength(1);
  });

  it("has the command by the name that every text of the bridge calls it", () => {
    const runs = all.filter(([name]) => name === "RUN").map(([, text]) => text);
    expect(runs.join("\n")).toContain(`exec node /app/${manifest.bin["dingtalk-bridge"]} "$@"`);
    expect(runs.join("\n")).toContain("> /usr/local/bin/dingtalk-bridge");
  });

  it("starts what the command starts, with the small young generation", () => {
    expect(all).toContainEqual(["ENTRYPOINT", `["node", "/app/${manifest.bin["dingtalk-bridge"]}"]`]);
    expect(all.find(([name]) => name === "ENV")?.[1]).toContain("NODE_OPTIONS=--max-semi-space-size=2");
  });

  it("brings the files that compose and the health check name", () => {
    const copied = all.filter(([name]) => name === "COPY").map(([, text]) => text);
    for (const script of ["healthcheck.mjs", "stay.mjs"])
      expect(copied.some((copy) => copy.includes(`deploy/docker/${script}`))).toBe(true);
  });
});

it("the OpenClaw of the image is the one that the tests run against", () => {
  const { packages } = JSON.parse(read("test/openclaw/package-lock.json")) as {
    packages: Record<string, { version: string }>;
  };
  const tested = packages["node_modules/openclaw"]?.version;
  expect(instructions("deploy/openclaw.Dockerfile")).toContainEqual(["ARG", `OPENCLAW_VERSION=${tested}`]);
});
