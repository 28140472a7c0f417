import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HttpServerOptions, buildServer } from "../../src/http/server.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { SECOND_TOKEN, startTwo } from "../support/two-accounts.ts";

type Json = Record<string, unknown>;
const json = async (response: Response): Promise<Json> => (await response.json()) as Json;
const stream = (extra: object = {}) => ({ to: "user:staff001", ...extra });
const finish = (extra: object = {}) => ({ text: "the answer", outcome: "done", ...extra });

describe("with the daemon", () => {
  let bridge: TestBridge;
  beforeAll(async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
  });
  afterAll(() => bridge.close());

  /** Opens one; its id. */
  async function open(extra: object = {}): Promise<string> {
    const response = await bridge.api("POST", "/v1/streams", stream(extra));
    expect(response.status).toBe(201);
    return String((await json(response))["id"]);
  }
  const put = (id: string, body: object) => bridge.api("PUT", `/v1/streams/${id}`, body);
  const end = (id: string, body: object) => bridge.api("POST", `/v1/streams/${id}/finish`, body);
  const refusal = async (response: Response): Promise<unknown> => {
    expect(response.headers.get("content-type")).toContain("application/problem+json");
    return [response.status, (await json(response))["code"]];
  };

  it("opens, grows and finishes a reply", async () => {
    const response = await bridge.api("POST", "/v1/streams", stream({ idleTimeoutMs: 60_000 }));
    expect(response.status).toBe(201);
    const { id, ...rest } = await json(response);
    expect(id).toMatch(/^st_/);
    expect(rest).toEqual({ mode: "card" });
    const first = await put(String(id), { seq: 0, text: "the", status: "thinking" });
    expect([first.status, await first.text()]).toEqual([204, ""]);
    await expect.poll(() => bridge.dingtalk.cards.length).toBe(1);
    const finished = await end(String(id), finish());
    expect(finished.status).toBe(202);
    expect(await json(finished)).toMatchObject({
      id: expect.any(String),
      duplicate: false,
      status: expect.any(String),
    });
    await expect
      .poll(() => bridge.dingtalk.cards[0])
      .toMatchObject({ flowStatus: "3", content: { msgContent: "the answer" } });
  });

  it("sends a reply that asked for Markdown as one message", async () => {
    const response = await bridge.api("POST", "/v1/streams", stream({ format: "markdown" }));
    const { id, mode } = await json(response);
    expect(mode).toBe("buffered");
    const before = bridge.dingtalk.requests.length;
    expect((await put(String(id), { seq: 1, text: "# so far" })).status).toBe(204);
    expect((await put(String(id), { seq: 2, text: "# so far and" })).status).toBe(204);
    expect(bridge.dingtalk.requests).toHaveLength(before);
    const finished = await json(await end(String(id), finish({ text: "# all" })));
    await expect
      .poll(async () => json(await bridge.api("GET", `/v1/messages/${String(finished["id"])}`)))
      .toMatchObject({ status: "delivered" });
    expect(bridge.dingtalk.sent.at(-1)).toMatchObject({ msgKey: "sampleMarkdown", text: "# all" });
  });

  it("takes a finish again, and not another one", async () => {
    const id = await open({ format: "markdown" });
    const first = await json(await end(id, finish()));
    const again = await end(id, finish());
    expect(again.status).toBe(202);
    expect(await json(again)).toMatchObject({ id: first["id"], duplicate: true });
    expect(await refusal(await end(id, finish({ text: "another" })))).toEqual([409, "stream_closed"]);
    expect(await refusal(await put(id, { seq: 9, text: "late" }))).toEqual([409, "stream_closed"]);
  });

  it("makes a message of the finish of an unknown stream that says where to, once", async () => {
    expect(await refusal(await put("st_unknown", { seq: 0, text: "x" }))).toEqual([404, "stream_unknown"]);
    expect(await refusal(await end("st_unknown", finish()))).toEqual([404, "stream_unknown"]);
    const before = bridge.dingtalk.sent.length;
    const body = finish({ to: "user:staff001", text: "late answer" });
    const first = await json(await end("st_unknown", body));
    const again = await json(await end("st_unknown", body));
    expect(first).toMatchObject({ duplicate: false });
    expect(again).toMatchObject({ id: first["id"], duplicate: true });
    await expect.poll(() => bridge.dingtalk.sent.length).toBe(before + 1);
  });

  it("opens none for another account", async () => {
    expect(await refusal(await bridge.api("POST", "/v1/streams", stream({ account: "support" })))).toEqual([
      403,
      "account_forbidden",
    ]);
  });
});

it("knows the streams of the caller's account only", async () => {
  const bridge = await startTwo({ gateway: { mode: { kind: "silent" } } });
  try {
    const opened = await bridge.api("POST", "/v1/streams", stream());
    const { id } = await json(opened);
    const theirs = async (method: string, path: string, body: object): Promise<unknown> => {
      const response = await bridge.api(method, path, body, SECOND_TOKEN);
      return [response.status, (await json(response))["code"]];
    };
    const url = `/v1/streams/${String(id)}`;
    expect(await theirs("PUT", url, { seq: 1, text: "x" })).toEqual([404, "stream_unknown"]);
    expect(await theirs("POST", `${url}/finish`, finish())).toEqual([404, "stream_unknown"]);
    expect(await theirs("POST", "/v1/streams", stream({ account: "main" }))).toEqual([403, "account_forbidden"]);
    expect((await bridge.api("PUT", url, { seq: 1, text: "" })).status).toBe(204);
  } finally {
    await bridge.close();
  }
});

/** The server alone: what it lets through, and what it is given. */
describe("bodies", () => {
  const calls: unknown[][] = [];
  const never = (): never => {
    throw new Error("no other route is called");
  };
  const record =
    (name: string, answer: unknown) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
      return answer as never;
    };
  const scope = { account: "main" };
  const options = {
    host: "127.0.0.1",
    port: 0,
    version: "0",
    grants: () => [{ token: "the-token", scope }],
    messages: Object.create(null) as HttpServerOptions["messages"],
    deadLetters: Object.create(null) as HttpServerOptions["deadLetters"],
    erasures: Object.create(null) as HttpServerOptions["erasures"],
    media: { maxBytes: 0 } as HttpServerOptions["media"],
    streams: {
      open: record("open", Promise.resolve({ id: "st_1", mode: "card" })),
      put: record("put", undefined),
      finish: record("finish", Promise.resolve({ id: "st_1", duplicate: false, status: "queued" })),
    },
    activity: { activity: record("activity", undefined) },
    health: never,
    status: never,
    probeStore: never,
    metrics: createMetrics(),
    metricsPublic: false,
    sampleMetrics: never,
    logger: pino({ level: "silent" }),
  } satisfies HttpServerOptions;

  async function call(method: "POST" | "PUT", url: string, payload: object, signal = new AbortController().signal) {
    calls.length = 0;
    const app = await buildServer(options, signal);
    const answer = await app.inject({ method, url, payload, headers: { authorization: "Bearer the-token" } });
    await app.close();
    return answer;
  }

  it.each([
    ["POST", "/v1/streams", stream(), ["open", stream(), scope], 201],
    [
      "POST",
      "/v1/streams",
      stream({ account: "main", inReplyTo: "main:msg1", idleTimeoutMs: 60_000, format: "text" }),
      ["open", stream({ account: "main", inReplyTo: "main:msg1", idleTimeoutMs: 60_000, format: "text" }), scope],
      201,
    ],
    ["PUT", "/v1/streams/st_1", { seq: 0, text: "" }, ["put", "st_1", { seq: 0, text: "" }, scope], 204],
    [
      "PUT",
      "/v1/streams/st_1",
      { seq: 7, text: "x".repeat(200_000), status: "searching" },
      ["put", "st_1", { seq: 7, text: "x".repeat(200_000), status: "searching" }, scope],
      204,
    ],
    ["POST", "/v1/streams/st_1/finish", finish({ text: "" }), ["finish", "st_1", finish({ text: "" }), scope], 202],
    [
      "POST",
      "/v1/streams/st_1/finish",
      finish({ outcome: "aborted", to: "conversation:cid1", mentions: { userIds: ["staff001"] } }),
      [
        "finish",
        "st_1",
        finish({ outcome: "aborted", to: "conversation:cid1", mentions: { userIds: ["staff001"] } }),
        scope,
      ],
      202,
    ],
    ["PUT", "/v1/activity", { inReplyTo: "main:msg1", state: "idle" }, ["activity", "main:msg1", "idle", scope], 204],
  ] as const)("%s %s takes %j", async (method, url, body, expected, status) => {
    const answer = await call(method, url, body);
    expect([answer.statusCode, calls]).toEqual([status, [expected]]);
    if (status === 204) expect(answer.body).toBe("");
  });

  it.each([
    ["POST", "/v1/streams", {}, "to"],
    ["POST", "/v1/streams", stream({ to: "staff001" }), "to"],
    ["POST", "/v1/streams", stream({ idleTimeoutMs: 10 }), "idleTimeoutMs"],
    ["POST", "/v1/streams", stream({ idleTimeoutMs: "60000" }), "idleTimeoutMs"],
    ["POST", "/v1/streams", stream({ format: "html" }), "format"],
    ["POST", "/v1/streams", stream({ text: "x" }), "text"],
    ["PUT", "/v1/streams/st_1", { text: "x" }, "seq"],
    ["PUT", "/v1/streams/st_1", { seq: -1, text: "x" }, "seq"],
    ["PUT", "/v1/streams/st_1", { seq: 1.5, text: "x" }, "seq"],
    ["PUT", "/v1/streams/st_1", { seq: 1 }, "text"],
    ["PUT", "/v1/streams/st_1", { seq: 1, text: "x".repeat(200_001) }, "text"],
    ["PUT", "/v1/streams/st_1", { seq: 1, text: "x", status: "x".repeat(101) }, "status"],
    ["POST", "/v1/streams/st_1/finish", { text: "x" }, "outcome"],
    ["POST", "/v1/streams/st_1/finish", finish({ outcome: "ok" }), "outcome"],
    ["POST", "/v1/streams/st_1/finish", finish({ to: "staff001" }), "to"],
    ["POST", "/v1/streams/st_1/finish", finish({ mentions: { userIds: "staff001" } }), "mentions.userIds"],
    ["POST", "/v1/streams/st_1/finish", { outcome: "done" }, "text"],
    ["PUT", "/v1/activity", { state: "working" }, "inReplyTo"],
    ["PUT", "/v1/activity", { inReplyTo: "", state: "working" }, "inReplyTo"],
    ["PUT", "/v1/activity", { inReplyTo: "main:msg1", state: "typing" }, "state"],
  ] as const)("%s %s refuses %j and names the field", async (method, url, body, field) => {
    const answer = await call(method, url, body);
    expect(answer.statusCode).toBe(400);
    expect(answer.json<Json>()).toMatchObject({ code: "invalid_request" });
    expect(String(answer.json<Json>()["detail"])).toMatch(new RegExp(`^${field}\\b`));
    expect(calls).toEqual([]);
  });

  it.each([
    ["POST", "/v1/streams", stream()],
    ["PUT", "/v1/streams/st_1", { seq: 1, text: "x" }],
    ["POST", "/v1/streams/st_1/finish", finish()],
    ["PUT", "/v1/activity", { inReplyTo: "main:msg1", state: "working" }],
  ] as const)("%s %s is refused while the bridge stops, and may be repeated", async (method, url, body) => {
    const answer = await call(method, url, body, AbortSignal.abort());
    expect([answer.statusCode, answer.headers["retry-after"]]).toEqual([503, "5"]);
    expect(answer.json<Json>()).toMatchObject({ code: "stopping" });
    expect(calls).toEqual([]);
  });

  it("needs the token", async () => {
    const app = await buildServer(options, new AbortController().signal);
    for (const url of ["/v1/streams/st_1", "/v1/activity"]) {
      expect((await app.inject({ method: "PUT", url, payload: {} })).statusCode).toBe(401);
    }
    await app.close();
  });
});
