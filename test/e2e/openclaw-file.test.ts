import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { startGatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { APP, TOKEN } from "../support/bridge.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const WIZARDS = "a-token-that-the-wizard-wrote";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

it.each<[string, string | undefined]>([
  ["and nothing else", undefined],
  ["with a token of one's own", WIZARDS],
])("runs in an empty folder on what OpenClaw's wizard wrote, %s", async (_, bridgeToken) => {
  const folder = mkdtempSync(join(tmpdir(), "bridge-openclaw-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const [home, empty] = [join(folder, "home"), join(folder, "empty")];
  for (const directory of [join(home, ".openclaw"), empty]) mkdirSync(directory, { recursive: true });
  const dingtalk = await startDingtalkSimulator({ apps: [APP] });
  cleanups.push(() => dingtalk.close());
  const token = bridgeToken ?? TOKEN;
  const gateway = await startGatewaySimulator({ accounts: [{ id: "main", appKey: APP.appKey, token }] });
  cleanups.push(() => gateway.close());
  const port = await freePort();
  const bridgeUrl = `http://127.0.0.1:${port}`;
  gateway.bridgeUrl = bridgeUrl;
  const main = { ...APP, botName: "小助手", bridgeUrl, ...(bridgeToken !== undefined && { bridgeToken }) };
  writeFileSync(
    join(home, ".openclaw", "openclaw.json"),
    JSON.stringify({
      gateway: {
        mode: "local",
        port: Number(new URL(gateway.url).port),
        auth: { mode: "token", token: "of-openclaw" },
      },
      channels: { dingtalk: { enabled: true, dmPolicy: "pairing", accounts: { main } } },
      plugins: { entries: { dingtalk: { enabled: true } } },
    }),
  );
  const connected = dingtalk.waitFor("connected", () => true, 15_000);
  // Only where DingTalk is has to be said, because it is not the real one.
  const env = { HOME: home, DINGTALK_API_BASE: dingtalk.url, DINGTALK_OAPI_BASE: dingtalk.url };
  const child = spawn(process.execPath, [MAIN, "start"], { cwd: empty, env, stdio: ["ignore", "pipe", "inherit"] });
  cleanups.push(() => child.kill("SIGKILL"));
  let log = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (log += text));
  const ended = once(child, "close");
  await connected;
  await dingtalk.say({ from: "staff001", text: "你好" });
  expect((await dingtalk.until("sent", undefined, 15_000)).text).toContain("你好");
  const status = await fetch(`${bridgeUrl}/v1/status`, {
    headers: { authorization: `Bearer ${token}`, connection: "close" },
  });
  expect([status.status, await status.json()]).toMatchObject([200, { accounts: [{ name: "main" }] }]);
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  expect(existsSync(join(empty, "data", "bridge.db"))).toBe(true);
  expect(log).toContain("by gateway.port (in ");
  expect(log).toContain(JSON.stringify(join(empty, "data")));
  for (const secret of [APP.appSecret, token]) expect(log).not.toContain(secret);
});
