import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { APP } from "../support/bridge.ts";
import { Daemon } from "../support/daemon.ts";
import { SECOND } from "../support/two-accounts.ts";

it("reads accounts again on SIGHUP; a file that is wrong changes nothing and has all its problems logged", async () => {
  const dingtalk = await startDingtalkSimulator({ apps: [APP, SECOND] });
  const directory = mkdtempSync(join(tmpdir(), "bridge-sighup-"));
  const file = join(directory, "bridge.json5");
  const write = (settings: object): void => writeFileSync(file, JSON.stringify(settings));
  const daemon = new Daemon({
    HOME: directory,
    LOG_LEVEL: "info",
    BRIDGE_CONFIG: file,
    BRIDGE_DATA_DIR: join(directory, "data"),
    BRIDGE_PORT: "0",
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
  });
  onTestFinished(async () => {
    await daemon.kill();
    await dingtalk.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const logged = (msg: string) => () =>
    daemon.errors.filter((line) => line.includes(`"msg":"${msg}`)).map((line) => JSON.parse(line) as unknown);
  const apps = () => dingtalk.connections.map(({ app }) => app).toSorted();

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
