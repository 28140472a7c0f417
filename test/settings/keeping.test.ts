import { expect, it } from "vitest";
import { TOKEN, type TestBridge } from "../support/bridge.ts";
import { pngOf } from "../support/sample-files.ts";
import { HOUR, bridgeWith, deadLetters, movableClock, send, taken } from "./support.ts";

const MB = 1_024 * 1_024;

async function upload(bridge: TestBridge, name: string, bytes = 0): Promise<string> {
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(pngOf(name)), new Uint8Array(bytes)]), `${name}.png`);
  const response = await fetch(`${bridge.url}/v1/media`, {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}`, connection: "close" },
    body: form,
  });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}

async function statusOf(bridge: TestBridge, path: string): Promise<number> {
  const response = await bridge.api("GET", path);
  await response.arrayBuffer();
  return response.status;
}

/** So much time passes while the bridge is away: what is too old goes when it starts. */
async function laterBy(bridge: TestBridge, move: ReturnType<typeof movableClock>["move"], ms: number): Promise<void> {
  move(bridge, ms);
  await bridge.restart();
}

it("BRIDGE_RETENTION_SETTLED: a message that is settled is forgotten by then", async () => {
  const { clock, move } = movableClock();
  const bridge = await bridgeWith({ BRIDGE_RETENTION_SETTLED: "1h" }, { overrides: { clock } });
  const { id } = await send(bridge, "user:staff001", "old");
  expect(await statusOf(bridge, `/v1/messages/${id}`)).toBe(200);
  await laterBy(bridge, move, 2 * HOUR);
  expect(await statusOf(bridge, `/v1/messages/${id}`)).toBe(404);
});

it("BRIDGE_RETENTION_DEAD: a dead letter is forgotten by then", async () => {
  const { clock, move } = movableClock();
  const bridge = await bridgeWith({ BRIDGE_RETENTION_DEAD: "1h" }, { overrides: { clock } });
  await send(bridge, "user:nobody", "?");
  expect(await deadLetters(bridge)).toEqual(["recipient_unknown"]);
  await laterBy(bridge, move, 2 * HOUR);
  expect(await deadLetters(bridge)).toEqual([]);
});

it("BRIDGE_RETENTION_CONVERSATIONS: one without messages is forgotten by then", async () => {
  const { clock, move } = movableClock();
  const bridge = await bridgeWith({ BRIDGE_RETENTION_CONVERSATIONS: "1h" }, { overrides: { clock } });
  const push = await bridge.dingtalk.say({ text: "hi" });
  await push.acked();
  await expect.poll(() => taken(bridge)).toEqual(["hi"]);
  const { conversationId } = push.body as { conversationId: string };
  const to = `conversation:${conversationId}`;
  expect(await send(bridge, to, "known")).toMatchObject({ status: "delivered" });
  // Longer than its webhook lives, too: only who it was with leads there.
  await laterBy(bridge, move, 3 * HOUR);
  expect(await send(bridge, to, "unknown")).not.toMatchObject({ status: "delivered" });
});

it("BRIDGE_RETENTION_MEDIA: a file is deleted by then", async () => {
  const { clock, move } = movableClock();
  const bridge = await bridgeWith({ BRIDGE_RETENTION_MEDIA: "1h" }, { overrides: { clock } });
  const id = await upload(bridge, "old");
  expect(await statusOf(bridge, `/v1/media/${id}`)).toBe(200);
  await laterBy(bridge, move, 2 * HOUR);
  expect(await statusOf(bridge, `/v1/media/${id}`)).toBe(404);
});

it("BRIDGE_MEDIA_MAX_TOTAL_MB: the oldest files beyond it go", async () => {
  const { clock, move } = movableClock();
  const bridge = await bridgeWith({ BRIDGE_MEDIA_MAX_TOTAL_MB: "1" }, { overrides: { clock } });
  const older = await upload(bridge, "older", 0.6 * MB);
  move(bridge, HOUR);
  const newer = await upload(bridge, "newer", 0.6 * MB);
  await laterBy(bridge, move, HOUR);
  expect([await statusOf(bridge, `/v1/media/${older}`), await statusOf(bridge, `/v1/media/${newer}`)]).toEqual([
    404, 200,
  ]);
});

it("BRIDGE_DISK_MIN_FREE_MB: with less than half of it nothing new is taken", async () => {
  const free = 300 * MB;
  const overrides = { watch: { everyMs: 20, freeBytes: () => Promise.resolve(free) } };
  for (const [least, status] of Object.entries({ "200": 202, "1000": 503, "0": 202 })) {
    const bridge = await bridgeWith({ BRIDGE_DISK_MIN_FREE_MB: least }, { overrides });
    const body = { to: "user:staff001", content: { type: "text", text: "?" } };
    const response = await bridge.api("POST", "/v1/messages", body);
    await response.arrayBuffer();
    expect([least, response.status]).toEqual([least, status]);
  }
});
