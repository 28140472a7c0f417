import { describe, expect, it } from "vitest";
import { asTyped, programOf } from "../../src/cli/as-typed.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { cli } from "./support.ts";

describe("how the program is called", () => {
  const system = "/usr/bin/node";
  const fetched = "/home/me/.npm/_npx/1f2e/node_modules";

  it.each([
    ["/home/me/dingtalk-bridge/src/main.ts", system, "npm exec -- node src/main.ts"],
    [`${fetched}/dingtalk-bridge/dist/main.js`, system, "npx dingtalk-bridge"],
    [
      `${fetched}/dingtalk-bridge/dist/main.js`,
      `${fetched}/node/bin/node`,
      "npx -p node@24 -p dingtalk-bridge dingtalk-bridge",
    ],
    ["/opt/dingtalk-bridge/lib/node_modules/dingtalk-bridge/dist/main.js", system, "dingtalk-bridge"],
  ])("%s by %s: %s", (script, node, program) => {
    expect(programOf(script, node)).toBe(program);
  });

  it.each(COMMANDS.map(({ name }) => name))("a step with %s is named so", (name) => {
    expect(asTyped(`next: dingtalk-bridge ${name}`, "npx x")).toBe(`next: npx x ${name}`);
  });

  it("leaves alone what is no call", () => {
    const text = "dingtalk-bridge 0.1.0: dingtalk-bridge needs Node.js 24.16; another dingtalk-bridge starts";
    expect(asTyped(text, "npx x")).toBe(text);
  });
});

describe("in a clone the next step can be copied", () => {
  const host = { program: "npm exec -- node src/main.ts" };
  const env = { HOME: "/nonexistent" };

  it("of a refused start", async () => {
    const { status, stderr } = await cli(["start"], { env, host });
    expect(status).toBe(78);
    expect(stderr).toContain("Run `npm exec -- node src/main.ts init`");
  });

  it("of the doctor", async () => {
    const { stdout } = await cli(["doctor", "--offline"], { env, host });
    expect(stdout).toContain("then run: npm exec -- node src/main.ts doctor");
  });

  it("of a command that finds no bridge", async () => {
    const { stderr } = await cli(["send", "--to", "user:staff001", "--text", "x", "--port", "1"], {
      env: { ...env, DINGTALK_APP_KEY: "dingabcd1234efgh5678", DINGTALK_APP_SECRET: "some-app-secret" },
      host,
    });
    expect(stderr).toContain("npm exec -- node src/main.ts start");
  });
});
