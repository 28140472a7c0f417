import { createServer } from "node:http";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { Handshake } from "../../src/gateway/handshake.ts";
import { createGatewayDispatcher } from "../../src/gateway/http.ts";
import { createMetrics } from "../../src/ops/metrics.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A gateway that answers the handshake as the test says, and a bridge that asks. */
async function ask(
  answers: { status?: number; body?: unknown; type?: string }[],
  options: { insideContainer?: boolean; rightMs?: number } = {},
) {
  let asked = 0;
  const server = createServer((_request, response) => {
    const { status = 200, body, type = "application/json" } = answers[Math.min(asked, answers.length - 1)] ?? {};
    asked += 1;
    response.writeHead(status, { "content-type": type }).end(typeof body === "string" ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const close = () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve)));
  cleanups.push(close);
  const dispatcher = createGatewayDispatcher();
  cleanups.push(() => dispatcher.close());
  let ready = 0;
  const handshake = new Handshake({
    url: new URL(`http://127.0.0.1:${port}/dingtalk/events`),
    accounts: () => [{ name: "main", appKey: "ding1" }],
    token: () => "the-token",
    userAgent: "test",
    dispatcher,
    logger: pino({ level: "silent" }),
    metrics: createMetrics(),
    onReady: () => (ready += 1),
    timings: { wrongMs: 10, rightMs: options.rightMs ?? 10, timeoutMs: 1_000 },
    insideContainer: options.insideContainer ?? false,
  });
  cleanups.push(() => handshake.stop());
  await handshake.start();
  return { handshake, ready: () => ready, close, asked: () => asked };
}

const right = {
  contract: 1,
  name: "plugin",
  version: "1.0",
  host: "openclaw",
  accounts: [{ id: "main", appKey: "ding1", enabled: true }],
};

describe("handshake", () => {
  it("is ready when contract, App Key and account are right, and knows the plugin", async () => {
    const { handshake, ready } = await ask([{ body: right }]);
    await expect.poll(() => handshake.health()).toEqual({ status: "ok" });
    expect(handshake.plugin).toEqual({ name: "plugin", version: "1.0", host: "openclaw" });
    expect(ready()).toBe(1);
  });

  it.each([
    ["a page of HTML", { body: "<html>", type: "text/html" }, "plugin_missing", /plugins install/],
    ["JSON of something else", { body: { ok: true } }, "plugin_missing", /plugins install/],
    ["404", { status: 404, body: "no" }, "plugin_missing", /plugins install/],
    ["401", { status: 401, body: {} }, "gateway_token", /BRIDGE_TOKEN|App Secret/],
    ["503", { status: 503, body: {} }, "gateway_unavailable", /wait/],
    [
      "a refusal of ours",
      { status: 400, body: { code: "unsupported_version", detail: "this plugin speaks contract 2" } },
      "contract_version",
      /plugin that came with/,
    ],
    ["another contract", { body: { ...right, contract: 2 } }, "contract_version", /plugin that came with/],
    ["another App Key", { body: { ...right, accounts: [{ id: "main", appKey: "other" }] } }, "account", /App Key/],
    [
      "a disabled account",
      { body: { ...right, accounts: [{ id: "main", appKey: "ding1", enabled: false }] } },
      "account",
      /enabled/,
    ],
    ["accounts of no shape", { body: { ...right, accounts: [null, 5, "x"] } }, "account", /App Key/],
  ])("%s is degraded with the mend", async (_name, answer, code, mend) => {
    const { handshake, ready } = await ask([answer]);
    await expect.poll(() => handshake.health()).toMatchObject({ status: "degraded", code });
    expect(handshake.health().mend).toMatch(mend);
    expect(ready()).toBe(0);
  });

  it("looks at once when somebody found the gateway away", async () => {
    const { handshake, asked } = await ask([{ body: right }, { status: 503, body: {} }], { rightMs: 60_000 });
    await expect.poll(() => handshake.health().status).toBe("ok");
    handshake.askNow();
    handshake.askNow();
    await expect.poll(() => handshake.health().code).toBe("gateway_unavailable");
    expect(asked()).toBeGreaterThanOrEqual(2);
  });

  it("asks again until it is right", async () => {
    const { handshake, ready, asked } = await ask([{ status: 404 }, { status: 404 }, { body: right }]);
    await expect.poll(() => handshake.health().status).toBe("ok");
    expect(ready()).toBe(1);
    expect(asked()).toBeGreaterThanOrEqual(3);
  });

  it("names the loopback trap inside a container", async () => {
    const { handshake, close } = await ask([{ body: right }], { insideContainer: true });
    await close();
    await expect
      .poll(() => handshake.health())
      .toMatchObject({ code: "gateway_unreachable", mend: expect.stringContaining("network_mode: host") });
  });
});
