import { randomUUID } from "node:crypto";
import { afterEach, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

async function post(staffId: string, text: string, key = randomUUID() as string) {
  const body = { to: `user:${staffId}`, content: { type: "text", text } };
  const response = await bridge?.api("POST", "/v1/messages", body, { "idempotency-key": key });
  const answer = (await response?.json()) as { id?: string; code?: string; mend?: string; duplicate?: boolean };
  return { http: response?.status, retryAfter: response?.headers.get("retry-after"), ...answer };
}

const refused = {
  status: 503,
  code: "queue_full",
  retryAfter: expect.stringMatching(/^\d+$/),
  mend: expect.any(String),
};

it("refuses what does not fit, keeps what it took across a restart, and takes again when there is room", async () => {
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: { BRIDGE_LIMITS_OPEN_PER_LANE: "3", BRIDGE_LIMITS_OPEN_TOTAL: "5" },
  });
  bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "unavailable" });
  const first = await post("staff001", "1", "key-of-1");
  for (const text of ["2", "3"]) expect((await post("staff001", text)).http).toBe(202);
  expect(await post("staff001", "4")).toMatchObject(refused);
  expect(await post("staff001", "1", "key-of-1")).toMatchObject({ http: 202, duplicate: true, id: first.id });
  for (const text of ["a", "b"]) expect((await post("staff002", text)).http).toBe(202);
  expect(await post("staff003", "one too many")).toMatchObject(refused);
  expect(bridge.logs.lines.filter(({ msg }) => msg === "message refused")).toHaveLength(1);
  expect(bridge.logs.text).not.toContain("API call failed");
  await bridge.restart();
  expect(await post("staff003", "one too many")).toMatchObject(refused);

  bridge.dingtalk.faults.clear();
  const texts = (): string[] => bridge?.dingtalk.sent.map(({ text }) => text) ?? [];
  await expect.poll(() => texts().toSorted(), { timeout: 15_000 }).toEqual(["1", "2", "3", "a", "b"]);
  expect(texts().filter((text) => /\d/.test(text))).toEqual(["1", "2", "3"]);
  expect((await post("staff001", "4")).http).toBe(202);
  await expect.poll(texts, { timeout: 15_000 }).toContain("4");
});
