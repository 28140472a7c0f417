import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { APP } from "../support/bridge.ts";
import { Daemon } from "../support/daemon.ts";
import { SECOND } from "../support/two-accounts.ts";

/** The real program in a directory of its own, and what it has said so far with these words. */
async function world(env: (directory: string) => Record<string, string>) {
  const dingtalk = await startDingtalkSimulator({ apps: [APP, SECOND] });
  const directory = mkdtempSync(join(tmpdir(), "bridge-sighup-"));
  const daemon = new Daemon({
    HOME: directory,
    LOG_LEVEL: "info",
    BRIDGE_DATA_DIR: join(directory, "data"),
    BRIDGE_PORT: "0",
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    ...env(directory),
  });
  onTestFinished(async () => {
    await daemon.kill();
    await dingtalk.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const logged = (msg: string) => () =>
    daemon.errors.filter((line) => line.includes(`"msg":"${msg}`)).map((line) => JSON.parse(line) as unknown);
  const apps = () => dingtalk.connections.map(({ app }) => app).toSorted();
  return { dingtalk, directory, daemon, logged, apps };
}

it("reads accounts again on SIGHUP; a file that is wrong changes nothing and has all its problems logged", async () => {
  const { directory, daemon, logged, apps } = await world((directory) => ({
    BRIDGE_CONFIG: join(directory, "bridge.json5"),
  }));
  const write = (settings: object): void => writeFileSync(join(directory, "bridge.json5"), JSON.stringify(settings));

  write({ accounts: { main: APP } });
  daemon.start();
  await expect.poll(apps, { timeout: 15_000 }).toEqual([APP.appKey]);

  write({ accounts: { main: APP, support: { appKey: SECOND.appKey } }, limits: { apiPerSecond: -1 } });
  daemon.signal("SIGHUP");
  await expect.poll(logged("settings not read again: nothing is changed"), { timeout: 5_000 }).toMatchObject([
    {
      level: 50,
      problems: [
        expect.stringMatching(/support\.appSecret.* is missing/),
        expect.stringMatching(/limits\.apiPerSecond/),
      ],
    },
  ]);
  expect(apps()).toEqual([APP.appKey]);

  write({ accounts: { main: APP, support: SECOND }, language: "en" });
  daemon.signal("SIGHUP");
  await expect.poll(apps, { timeout: 5_000 }).toEqual([APP.appKey, SECOND.appKey]);
  await expect.poll(logged("settings read again")).toMatchObject([{ added: ["support"], removed: [] }]);
  await expect.poll(logged("restart needed: language")).toHaveLength(1);

  write({ accounts: { support: SECOND } });
  daemon.signal("SIGHUP");
  await expect.poll(apps, { timeout: 5_000 }).toEqual([SECOND.appKey]);
  expect(await daemon.stop()).toBe(0);
});

it("reads secrets from their files again on SIGHUP; a file that cannot be read is named, and changes nothing", async () => {
  const { directory, daemon, dingtalk, logged, apps } = await world((directory) => ({
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET_FILE: join(directory, "secret"),
    BRIDGE_TOKEN_FILE: join(directory, "token"),
  }));
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text);
  write("secret", `${APP.appSecret}\n`);
  write("token", "a-token-that-both-sides-share\n");
  daemon.start();
  await expect.poll(apps, { timeout: 15_000 }).toEqual([APP.appKey]);

  rmSync(join(directory, "secret"));
  daemon.signal("SIGHUP");
  const problem = `DINGTALK_APP_SECRET_FILE names a file "${join(directory, "secret")}" that does not exist`;
  await expect
    .poll(logged("settings not read again: nothing is changed"))
    .toMatchObject([{ problems: [expect.stringContaining(problem)] }]);
  expect(apps()).toEqual([APP.appKey]);

  dingtalk.rekey("test-secret-after-rotation");
  write("secret", "test-secret-after-rotation\n");
  write("token", "another-token-of-both-sides\n");
  daemon.signal("SIGHUP");
  await expect.poll(logged("settings read again")).toMatchObject([{ rekeyed: ["main"] }]);
  await expect.poll(() => dingtalk.allConnections.length).toBe(2);
  await expect.poll(logged("restart needed: token")).toHaveLength(1);
  expect(await daemon.stop()).toBe(0);
  expect(daemon.errors.join("\n")).not.toMatch(/after-rotation|both-sides|test-secret/);
});

it("reads the accounts of OpenClaw's file again on SIGHUP", async () => {
  const { directory, daemon, logged, apps } = await world((directory) => ({
    OPENCLAW_CONFIG: join(directory, "openclaw.json"),
    SUPPORT_SECRET: SECOND.appSecret,
  }));
  const write = (dingtalk: object): void =>
    writeFileSync(join(directory, "openclaw.json"), JSON.stringify({ channels: { dingtalk } }));
  const support = { clientId: SECOND.appKey, clientSecret: "${SUPPORT_SECRET}" };
  write({ ...APP, accounts: { support: { ...support, enabled: false } } });
  daemon.start();
  await expect.poll(apps, { timeout: 15_000 }).toEqual([APP.appKey]);
  write({ ...APP, accounts: { support } });
  daemon.signal("SIGHUP");
  await expect.poll(apps, { timeout: 5_000 }).toEqual([APP.appKey, SECOND.appKey]);
  write({ ...APP, accounts: { support: { ...support, clientSecret: { source: "store", id: "x" } } } });
  daemon.signal("SIGHUP");
  await expect
    .poll(logged("settings not read again: nothing is changed"))
    .toMatchObject([{ problems: [expect.stringContaining("SecretRef")] }]);
  expect(apps()).toEqual([APP.appKey, SECOND.appKey]);
  write({ ...APP, accounts: { support: { ...support, enabled: false } } });
  daemon.signal("SIGHUP");
  await expect.poll(apps, { timeout: 5_000 }).toEqual([APP.appKey]);
  expect(await daemon.stop()).toBe(0);
});
