import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, onTestFinished } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { freePort } from "../support/daemon.ts";
import { pdfOf, pngOf } from "../support/sample-files.ts";
import { startTwo } from "../support/two-accounts.ts";
import { type CliOptions, type CliResult, cli, envOf } from "./support.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

const send = (running: TestBridge, args: string[], options: CliOptions = {}): Promise<CliResult> =>
  cli(["send", ...args], { ...options, env: envOf(running, options.env) });

it("delivers a text to a person and says by which way", async () => {
  const running = (bridge = await startBridge());
  const { status, stdout, stderr } = await send(running, ["--to", "user:staff001", "--text", "部署完成"]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/^delivered by open-api \(out_\S+\)\n$/);
  expect(running.dingtalk.sent.at(-1)).toMatchObject({ text: "部署完成", userIds: ["staff001"] });
  const json = await send(running, ["--to", "user:staff001", "--markdown", "**ok**", "--json"]);
  expect(JSON.parse(json.stdout)).toMatchObject({ status: "delivered", parts: [{ route: "open-api" }] });
});

it("sends what comes by standard input, and files with a caption", async () => {
  const running = (bridge = await startBridge());
  const piped = await send(running, ["--to", "user:staff001", "--text", "-"], { input: "line one\nline two\n" });
  expect(piped.stdout).toContain("delivered");
  expect(running.dingtalk.sent.at(-1)).toMatchObject({ text: "line one\nline two" });
  const place = mkdtempSync(join(tmpdir(), "bridge-send-"));
  onTestFinished(() => rmSync(place, { recursive: true, force: true }));
  for (const [name, data] of [
    ["a.png", pngOf("a")],
    ["report.pdf", pdfOf("numbers")],
  ] as const) {
    writeFileSync(join(place, name), data);
    const sent = await send(running, ["--to", "user:staff001", "--file", join(place, name), "--text", `see ${name}`]);
    expect([name, sent]).toEqual([name, { status: 0, stdout: expect.stringContaining("delivered"), stderr: "" }]);
  }
  expect(running.dingtalk.media.uploaded.map(({ type, fileName }) => [type, fileName])).toEqual([
    ["image", expect.stringMatching(/\.png$/)],
    ["file", "report.pdf"],
  ]);
});

it("says why it failed and what to do, or that it still waits", async () => {
  const running = (bridge = await startBridge());
  const nobody = await send(running, ["--to", "user:nobody", "--text", "?"]);
  expect(nobody).toMatchObject({ status: 1, stderr: "" });
  expect(nobody.stdout).toMatch(
    /^failed: recipient_unknown .*\n {2}mend: check the id .*\n.*\n.*dead-letters replay out_/,
  );
  running.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "unavailable" });
  const waits = await send(running, ["--to", "user:staff001", "--text", "?", "--wait", "1"]);
  expect(waits.status).toBe(1);
  expect(waits.stdout).toMatch(
    /^queued: not delivered within 1 s.*\n {2}the bridge goes on trying; its life: dingtalk-bridge trace out_/,
  );
  const queued = await send(running, ["--to", "user:staff001", "--text", "?", "--wait", "0"]);
  expect(queued.status).toBe(0);
  expect(queued.stdout).toMatch(/^queued \(out_/);
});

it("asks which robot where there are several", async () => {
  const running = (bridge = await startTwo());
  const env = { BRIDGE_CONFIG: "" };
  const both = { DINGTALK_APP_KEY: "", DINGTALK_APP_SECRET: "" };
  const config = join(running.dataDir, "two.json5");
  const accounts = {
    main: { appKey: "dingtestkey00000001", appSecret: "test-secret-one-of-two" },
    support: { appKey: "dingtestkey00000002", appSecret: "test-secret-two-of-two" },
  };
  writeFileSync(config, JSON.stringify({ accounts }));
  const options = { env: { ...env, ...both, BRIDGE_CONFIG: config } };
  const asked = await send(running, ["--to", "user:staff001", "--text", "?"], options);
  expect(asked).toMatchObject({ status: 64, stderr: expect.stringContaining("--account is one of main, support") });
  const sent = await send(running, ["--to", "user:staff001", "--text", "?", "--account", "support"], options);
  expect(sent.stdout).toContain("delivered");
  const wrong = await send(running, ["--to", "user:staff001", "--text", "?", "--account", "sales"], options);
  expect(wrong).toMatchObject({ status: 1, stderr: expect.stringContaining("name one of main, support") });
});

it.each([
  [["--text", "x"], "required option '--to <whom>' not specified"],
  [["--to", "staff001", "--text", "x"], "--to is not user:<staffId> or conversation:<id>"],
  [["--to", "user:staff001"], "there is nothing to send"],
  [["--to", "user:staff001", "--text", "a", "--markdown", "b"], "--text and --markdown are both given"],
  [["--to", "user:staff001", "--text", "a", "--wait", "soon"], "--wait is not a number"],
])("refuses %j with 64", async (args, why) => {
  const env = envOf({ url: "http://127.0.0.1:1", dataDir: "/nonexistent" });
  expect(await cli(["send", ...args], { env })).toMatchObject({ status: 64, stderr: expect.stringContaining(why) });
});

it("says in a sentence what is not there: bridge, token, file", async () => {
  const running = (bridge = await startBridge());
  const to = ["send", "--to", "user:staff001"];
  const away = await cli([...to, "--text", "x"], { env: envOf(running, { BRIDGE_PORT: String(await freePort()) }) });
  expect(away).toMatchObject({ status: 1, stdout: "" });
  expect(away.stderr).toMatch(
    /^dingtalk-bridge: no bridge answers at http:\S+: connection refused\n {2}mend: start it: dingtalk-bridge start/,
  );
  const foreign = await cli([...to, "--text", "x"], {
    env: envOf(running, { DINGTALK_APP_SECRET: "another-secret-of-an-app" }),
  });
  expect(foreign.stderr).toContain("does not know the token of these settings");
  const other = await cli([...to, "--text", "x"], { env: envOf({ ...running, url: running.gateway.url }) });
  expect(other.stderr).toContain("is no dingtalk-bridge");
  const file = await cli([...to, "--file", "/nonexistent/a.png"], { env: envOf(running) });
  expect(file).toEqual({
    status: 1,
    stdout: "",
    stderr: 'dingtalk-bridge: "/nonexistent/a.png" cannot be read: it does not exist\n',
  });
  const port = await cli([...to, "--text", "x"], { env: envOf(running, { BRIDGE_PORT: "0" }) });
  expect(port.stderr).toContain("BRIDGE_PORT is 0");
});
