import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

let bridge: TestBridge;
beforeAll(async () => {
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
});
afterAll(() => bridge.close());

const message = (extra: object = {}) => ({ to: "user:staff001", content: { type: "text", text: "hi" }, ...extra });
const post = (body: unknown, headers: Record<string, string> = {}) => bridge.api("POST", "/v1/messages", body, headers);
const json = async (response: Response) => (await response.json()) as Record<string, unknown>;

describe("POST /v1/messages", () => {
  it("answers 202 once stored, then the message is delivered", async () => {
    const response = await post(message());
    expect(response.status).toBe(202);
    const { id, ...rest } = await json(response);
    expect(rest).toEqual({ duplicate: false, status: "queued" });
    await expect
      .poll(async () => json(await bridge.api("GET", `/v1/messages/${String(id)}`)))
      .toMatchObject({
        status: "delivered",
        account: "main",
        attempts: 0,
        parts: [{ route: "open-api", receipt: expect.any(String), at: expect.any(String) }],
      });
  });

  it("waits for the end with Prefer: wait", async () => {
    const response = await post(message(), { prefer: "wait=10" });
    expect(response.status).toBe(200);
    expect(response.headers.get("preference-applied")).toBe("wait=10");
    expect(await json(response)).toMatchObject({ status: "delivered", duplicate: false });
  });

  it("answers 202 when the wait was not enough", async () => {
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "systemError", count: 1 });
    const response = await post(message(), { prefer: "wait=0" });
    expect(response.status).toBe(202);
  });

  it("sends Markdown with the first line as title", async () => {
    const text = "## 今日总结\n\n- 一\n- 二";
    await post(message({ content: { type: "markdown", text } }), { prefer: "wait=10" });
    const sent = bridge.dingtalk.sent.at(-1);
    expect(sent).toMatchObject({ msgKey: "sampleMarkdown", title: "今日总结", text });
  });

  it("makes one message of the same Idempotency-Key and refuses another body under it", async () => {
    const key = `main:${randomUUID()}/run/1`;
    const first = await json(await post(message(), { "idempotency-key": key, prefer: "wait=10" }));
    const before = bridge.dingtalk.sent.length;
    const again = await post(message(), { "idempotency-key": key });
    expect(again.status).toBe(202);
    expect(await json(again)).toEqual({ id: first["id"], duplicate: true, status: "delivered" });
    const other = await post(message({ content: { type: "text", text: "another" } }), { "idempotency-key": key });
    expect(other.status).toBe(422);
    expect(await json(other)).toMatchObject({ code: "idempotency_key_reused" });
    expect(bridge.dingtalk.sent).toHaveLength(before);
  });

  it("splits what is too long for one message and delivers all of it in order", async () => {
    const text = Array.from({ length: 900 }, (_, n) => `第${n}行，内容`).join("\n");
    const response = await post(message({ content: { type: "text", text } }), { prefer: "wait=20" });
    const { parts, id } = (await json(response)) as { parts: unknown[]; id: string };
    expect(parts.length).toBeGreaterThan(1);
    const sent = bridge.dingtalk.sent.slice(-parts.length).map((one) => one.text);
    expect(sent.join("\n")).toBe(text);
    expect(id).toMatch(/^out_/);
  });

  it.each([
    [{ content: { type: "text", text: "x" } }, 400, "to", "invalid_request"],
    [message({ to: "somebody" }), 400, "to", "invalid_request"],
    [message({ content: { type: "text" } }), 400, "content.text", "invalid_request"],
    [message({ content: { type: "text", text: 5 } }), 400, "content.text", "invalid_request"],
    [message({ content: { type: "text", text: "" } }), 400, "content.text", "invalid_request"],
    [message({ content: { type: "feedCard", links: [] } }), 422, "content.type", "content_type_not_supported"],
    [message({ extra: 1 }), 400, "extra", "invalid_request"],
    [message({ ttlMs: 5 }), 400, "ttlMs", "invalid_request"],
    [message({ mentions: { userIds: "staff001" } }), 400, "mentions.userIds", "invalid_request"],
    [message({ account: "nobody" }), 403, "account", "account_forbidden"],
    ["{ not json", 400, "", "invalid_request"],
  ])("refuses %j with a problem that names the field", async (body, status, field, code) => {
    const response = await post(body);
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toContain("application/problem+json");
    const problem = await json(response);
    expect(problem).toMatchObject({ status, code });
    expect(problem["detail"]).toContain(field);
  });

  it("makes a dead letter of what DingTalk refuses for good, which can be replayed or discarded", async () => {
    const response = await post(message({ to: "user:nobody-here" }), { prefer: "wait=10" });
    expect(await json(response)).toMatchObject({ status: "dead", error: { code: "recipient_unknown" } });
    const list = async () =>
      ((await json(await bridge.api("GET", "/v1/dead-letters"))) as { deadLetters: { id: string }[] }).deadLetters;
    const id = (await list())[0]?.id ?? "";
    expect((await bridge.api("POST", `/v1/dead-letters/${id}/replay`)).status).toBe(202);
    await expect.poll(async () => (await list()).map((one) => one.id)).toContain(id);
    expect((await bridge.api("DELETE", `/v1/dead-letters/${id}`)).status).toBe(204);
    expect(await list()).toEqual([]);
    expect((await bridge.api("DELETE", `/v1/dead-letters/${id}`)).status).toBe(404);
  });
});

describe("GET and DELETE /v1/messages/:id", () => {
  it("cancels what waits and recalls what was sent", async () => {
    bridge.dingtalk.faults.api("groupMessages/send", { kind: "error", error: "unavailable", count: 1 });
    const to = "conversation:cidNeverSeen==";
    const first = await json(await post(message({ to })));
    const second = await json(await post(message({ to })));
    const cancelled = await bridge.api("DELETE", `/v1/messages/${String(second["id"])}`);
    expect(await json(cancelled)).toMatchObject({ status: "cancelled" });
    await bridge.api("DELETE", `/v1/messages/${String(first["id"])}`);
    const sent = await json(await post(message(), { prefer: "wait=10" }));
    const recalled = await bridge.api("DELETE", `/v1/messages/${String(sent["id"])}`);
    expect(recalled.status).toBe(200);
    expect(await json(recalled)).toMatchObject({ status: "cancelled", error: { code: "recalled" } });
  });

  it("knows nothing of an unknown id", async () => {
    const response = await bridge.api("GET", "/v1/messages/out_unknown");
    expect(response.status).toBe(404);
    expect(await json(response)).toMatchObject({ code: "not_found" });
  });
});

describe("access", () => {
  it.each([
    ["/v1/status", {}],
    ["/v1/status", { authorization: "Bearer wrong" }],
    ["/v1/messages/x", { authorization: "Basic wrong" }],
    ["/metrics", { authorization: "" }],
  ])("refuses %s without the token", async (path, headers) => {
    const response = await fetch(new URL(path, bridge.url), { headers: { connection: "close", ...headers } });
    expect(response.status).toBe(401);
    expect(await json(response)).toMatchObject({ code: "unauthorized", mend: expect.any(String) });
  });

  it("shows probes and the API's description to anybody, without a secret", async () => {
    for (const path of ["/healthz", "/readyz", "/livez", "/openapi.json"]) {
      const response = await fetch(new URL(path, bridge.url), { headers: { connection: "close" } });
      expect([path, response.status]).toEqual([path, 200]);
      expect(await response.text()).not.toContain("test-secret");
    }
  });

  it("shows status and metrics with the token", async () => {
    expect(await json(await bridge.api("GET", "/v1/status"))).toMatchObject({
      accounts: [{ name: "main", state: "connected", status: "ok" }],
      queues: { inbox: { open: 0 }, outbox: { deadLetters: 0 } },
      gateway: { status: "ok", plugin: { name: "scripted-gateway" } },
    });
    const metrics = await (await bridge.api("GET", "/metrics")).text();
    expect(metrics).toContain('dingtalk_bridge_stream_connected{account="main"} 1');
    expect(metrics).toMatch(/dingtalk_bridge_sends_total\{[^}]*endpoint="robot\/oToMessages\/batchSend"[^}]*\} \d+/);
  });

  it("has a problem document for what does not exist", async () => {
    const response = await bridge.api("GET", "/v2/nothing");
    expect(response.status).toBe(404);
    expect(await json(response)).toMatchObject({ code: "not_found" });
  });
});
