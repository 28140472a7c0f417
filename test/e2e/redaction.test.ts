import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { deriveToken } from "../../src/domain/account.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { startGatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { APP } from "../support/bridge.ts";
import { freePort } from "../support/daemon.ts";
import { pngOf } from "../support/sample-files.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const WRONG_SECRET = "wrong-secret-of-the-app-0001";
const BRIDGE_TOKEN = "bridge-token-that-both-sides-share";
const STRANGERS_TOKEN = "token-that-somebody-tried-0001";
const PROXY_PASSWORD = "pass-of-the-proxy-0001";
const THROWS = `setTimeout(() => { throw new Error("out of the blue"); }, 3_000);`;

/** Everything that processes of one data directory wrote to stdout and stderr. */
function world(dingtalk: DingtalkSimulator, env: Record<string, string>) {
  const directory = mkdtempSync(join(tmpdir(), "bridge-redaction-"));
  const children: ChildProcess[] = [];
  let output = "";
  onTestFinished(() => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  const run = (args: string[], more: Record<string, string> = {}, nodeArgs: string[] = []) => {
    const child = spawn(process.execPath, [...nodeArgs, MAIN, ...args], {
      env: {
        HOME: directory,
        DINGTALK_APP_KEY: APP.appKey,
        DINGTALK_APP_SECRET: APP.appSecret,
        DINGTALK_API_BASE: dingtalk.url,
        DINGTALK_OAPI_BASE: dingtalk.url,
        BRIDGE_DATA_DIR: join(directory, "data"),
        LOG_LEVEL: "trace",
        ...env,
        ...more,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.push(child);
    const from = output.length;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    }
    return { child, said: () => output.slice(from), ended: once(child, "close") };
  };
  return { directory, run, output: () => output };
}

/** As it is, and as URLs, forms and JSON write it. */
function spellings(secret: string): string[] {
  const form = new URLSearchParams({ s: secret }).toString().slice(2);
  return [secret, encodeURIComponent(secret), form, JSON.stringify(secret).slice(1, -1)];
}

it.each([
  { format: "json", token: undefined },
  { format: "pretty", token: BRIDGE_TOKEN },
])("whole lives write no secret anywhere: $format", { timeout: 240_000 }, async ({ format, token }) => {
  const dingtalk = await startDingtalkSimulator({ apps: [APP], knobs: { webhookTtlMs: 60_000 } });
  const sent = token ?? deriveToken(APP.appKey, APP.appSecret);
  const gateway = await startGatewaySimulator({
    accounts: [{ id: "main", appKey: APP.appKey, token: sent }],
    stream: (envelope) => (envelope.type === "message" && envelope.message.text === "growing" ? pieces() : undefined),
  });
  onTestFinished(async () => {
    await gateway.close();
    await dingtalk.close();
  });
  const port = await freePort();
  gateway.bridgeUrl = `http://127.0.0.1:${port}`;
  const { run, output, directory } = world(dingtalk, {
    LOG_FORMAT: format,
    BRIDGE_PORT: String(port),
    BRIDGE_GATEWAY_URL: gateway.url,
    ...(token !== undefined && { BRIDGE_TOKEN: token }),
  });
  const api = (method: string, path: string, body?: object | FormData, bearer = sent): Promise<Response> =>
    fetch(new URL(path, gateway.bridgeUrl), {
      method,
      headers: {
        authorization: `Bearer ${bearer}`,
        connection: "close",
        prefer: "wait=10",
        ...(body && !(body instanceof FormData) && { "content-type": "application/json" }),
      },
      ...(body && { body: body instanceof FormData ? body : JSON.stringify(body) }),
    });
  const send = (to: string, content: object): Promise<Response> => api("POST", "/v1/messages", { to, content });
  const text = { type: "text", text: "说" };

  // Both ways, with files, a card, a group, a new token in between.
  const first = run(["start"]);
  await expect.poll(first.said, { timeout: 20_000 }).toContain("gateway ready");
  await expect.poll(() => dingtalk.connections.length).toBe(1);
  await (await dingtalk.say({ text: "in" })).acked();
  await (await dingtalk.say({ text: "growing" })).acked();
  await (await dingtalk.say({ text: "in a group", group: "测试群" })).acked();
  await (await dingtalk.say({ msgtype: "picture" })).acked();
  await (await dingtalk.say({ msgtype: "richText" })).acked();
  await expect.poll(() => gateway.taken.length, { timeout: 15_000 }).toBe(5);
  await expect.poll(() => dingtalk.cards.some(({ flowStatus }) => flowStatus === "3"), { timeout: 15_000 }).toBe(true);
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(pngOf("redaction"))]), "a.png");
  const { id } = (await (await api("POST", "/v1/media", form)).json()) as { id: string };
  expect((await (await send("user:staff001", { type: "image", media: { id } })).json()) as object).toMatchObject({
    status: "delivered",
  });
  dingtalk.faults.expireTokens();
  await send("user:staff002", text);

  // What goes wrong, on every side.
  dingtalk.faults.api("sendBySession", { kind: "error", error: "unavailable", count: 1 });
  await send("user:staff001", text);
  for (const kind of ["reset", "truncated"] as const) {
    dingtalk.faults.api("oToMessages/batchSend", { kind, count: 1 });
    await send("user:staff002", text);
  }
  dingtalk.faults.api("*", { kind: "error", error: "invalidAuthentication", count: 2 });
  await send("user:staff002", text);
  dingtalk.faults.expireDownloads();
  await (await dingtalk.say({ msgtype: "file", text: "a.pdf" })).acked();
  dingtalk.faults.connect({ kind: "status", status: 403, count: 1 });
  dingtalk.faults.abort();
  await expect.poll(() => dingtalk.allConnections.length, { timeout: 15_000 }).toBeGreaterThan(1);
  await expect.poll(() => dingtalk.connections.length).toBe(1);
  gateway.mode = { kind: "answer", status: 401, body: `{"code":"unauthorized","detail":"not ${sent}"}` };
  await dingtalk.say({ text: "refused" });
  await expect.poll(() => gateway.received.at(-1)?.status, { timeout: 15_000 }).toBe(401);
  expect((await api("GET", "/v1/status", undefined, STRANGERS_TOKEN)).status).toBe(401);
  expect((await api("GET", `/v1/nothing?token=${STRANGERS_TOKEN}`)).status).toBe(404);

  // Reading the settings again, a crash from outside, one from inside, the wrong secret, the wrong place for a secret.
  first.child.kill("SIGHUP");
  await expect.poll(first.said, { timeout: 20_000 }).toContain("settings read again");
  first.child.kill("SIGKILL");
  await first.ended;
  gateway.mode = { kind: "echo" };
  const preload = join(directory, "throws.mjs");
  writeFileSync(preload, THROWS);
  const second = run(["start"], {}, ["--import", preload]);
  expect(await second.ended).toEqual([70, null]);
  expect(second.said()).toContain("out of the blue");
  const third = run(["start"], { DINGTALK_APP_SECRET: WRONG_SECRET });
  await expect.poll(third.said, { timeout: 20_000 }).toContain("stream_bad_credentials");
  third.child.kill("SIGTERM");
  await third.ended;
  await run(["start"], { DINGTALK_APP_KEY: WRONG_SECRET, BRIDGE_PORT: WRONG_SECRET }).ended;
  await run(["start", `--secret=${WRONG_SECRET}`]).ended;

  const commands = [
    "--help",
    "config",
    "config --json",
    "trace --last 50 --text --json",
    "trace",
    "dead-letters",
    "quota",
  ];
  for (const command of commands)
    await run(command.split(" "), { HTTPS_PROXY: `http://me:${PROXY_PASSWORD}@127.0.0.1:9` }).ended;

  const others = [
    WRONG_SECRET,
    BRIDGE_TOKEN,
    STRANGERS_TOKEN,
    PROXY_PASSWORD,
    deriveToken(APP.appKey, APP.appSecret),
    deriveToken(APP.appKey, WRONG_SECRET),
  ];
  const secrets = [...dingtalk.secrets(), ...others];
  expect(secrets.length).toBeGreaterThan(20);
  const lines = output().split("\n");
  const told = secrets.flatMap((secret) =>
    lines.filter((line) => spellings(secret).some((word) => line.includes(word))),
  );
  expect([...new Set(told)]).toEqual([]);
  // What is searched is really there.
  for (const word of [
    "message received and stored",
    "stream connected",
    "account",
    "dingtalk-bridge",
    "DINGTALK_APP_SECRET",
  ])
    expect(output()).toContain(word);
});

async function* pieces(): AsyncGenerator<string> {
  yield "growing";
  await new Promise((resolve) => setTimeout(resolve, 200));
  yield "growing and done";
}
