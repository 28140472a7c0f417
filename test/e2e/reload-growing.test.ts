import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { APP, type TestBridge, startBridge } from "../support/bridge.ts";
import { SECOND } from "../support/two-accounts.ts";
import { pngOf } from "../support/sample-files.ts";
import { QUICK, trackOf } from "../flows/stream-support.ts";

/*
 * An account is removed while something of it is under way. BRIDGE_TOKEN speaks for it all the same: a gateway goes on calling.
 */

const token = "a-token-that-all-accounts-share";
const ALL = { authorization: `Bearer ${token}` };

async function both(): Promise<TestBridge & { serve: (accounts: object) => Promise<unknown> }> {
  const directory = mkdtempSync(join(tmpdir(), "bridge-growing-"));
  const file = join(directory, "bridge.json5");
  const write = (accounts: object): void => writeFileSync(file, JSON.stringify({ token, accounts }));
  write({ main: APP, support: SECOND });
  const bridge = await startBridge({
    dingtalk: { apps: [APP, SECOND] },
    gateway: { checkToken: false, mode: { kind: "silent" } },
    env: { ...QUICK, BRIDGE_CONFIG: file, DINGTALK_APP_KEY: "", DINGTALK_APP_SECRET: "" },
    unconnected: true,
  });
  onTestFinished(async () => {
    await bridge.close();
    rmSync(directory, { recursive: true, force: true });
  });
  await expect.poll(() => bridge.dingtalk.connections.length).toBe(2);
  const serve = (accounts: object): Promise<unknown> => {
    write(accounts);
    return bridge.reload();
  };
  return Object.assign(bridge, { serve });
}

const SERVED = { main: APP, support: SECOND };
const waiting = (n: number) => ({
  code: "account_paused",
  detail: expect.stringContaining(`${n} to DingTalk`) as string,
});

it("a card that grows: its end waits, and is written when the account is back", async () => {
  const bridge = await both();
  const opened = await bridge.api("POST", "/v1/streams", { account: "support", to: "user:staff001" }, ALL);
  const { id } = (await opened.json()) as { id: string };
  const put = async (seq: number, text: string): Promise<number> =>
    (await bridge.api("PUT", `/v1/streams/${id}`, { seq, text }, ALL)).status;
  const card = () => bridge.dingtalk.cards.find(({ outTrackId }) => outTrackId === trackOf(id));
  expect(await put(1, "第一段")).toBe(204);
  await expect.poll(() => card()?.flowStatus).toBe("2");

  await bridge.serve({ main: APP });
  const before = bridge.dingtalk.requests.length;
  expect(await put(2, "第一段第二段")).toBe(204);
  const text = "第一段第二段完";
  const end = await bridge.api("POST", `/v1/streams/${id}/finish`, { text, outcome: "done" }, ALL);
  expect(end.status).toBe(202);
  await expect.poll(() => bridge.app.health().components["account:support"]).toMatchObject(waiting(1));
  expect(bridge.dingtalk.requests.slice(before)).toEqual([]);

  await bridge.serve(SERVED);
  await expect.poll(() => card()).toMatchObject({ flowStatus: "3", content: { msgContent: text } });
  expect(bridge.app.health().components["account:support"]).toBeUndefined();
});

it("a file that is on its way: it arrives once, whether before the end of the account or after its return", async () => {
  const bridge = await both();
  const form = new FormData();
  form.append("account", "support");
  form.append("file", new Blob([Uint8Array.from(pngOf("a"))]), "a.png");
  const uploaded = await fetch(`${bridge.url}/v1/media`, { method: "POST", headers: ALL, body: form });
  const { id: media } = (await uploaded.json()) as { id: string };
  bridge.dingtalk.faults.api("media/upload", { kind: "answer", status: 500, body: {}, delayMs: 2_000, count: 1 });
  const content = { type: "image", media: { id: media } };
  const sent = await bridge.api("POST", "/v1/messages", { account: "support", to: "user:staff001", content }, ALL);
  const { id } = (await sent.json()) as { id: string };
  await expect.poll(() => bridge.dingtalk.requests.map(({ api }) => api)).toContain("media/upload");

  await bridge.serve({ main: APP });
  await expect.poll(() => bridge.app.health().components["account:support"]).toMatchObject(waiting(1));

  await bridge.serve(SERVED);
  const state = async (): Promise<unknown> => (await bridge.api("GET", `/v1/messages/${id}`, undefined, ALL)).json();
  await expect.poll(state, { timeout: 10_000 }).toMatchObject({ status: "delivered" });
  expect(bridge.dingtalk.sent.filter(({ app }) => app === SECOND.appKey)).toHaveLength(1);
});
