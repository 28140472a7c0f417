import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { createGatewayDispatcher } from "../../src/gateway/http.ts";
import { Handshake } from "../../src/gateway/handshake.ts";
import { HttpServer } from "../../src/http/server.ts";
import type { HttpServerOptions } from "../../src/http/server.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { stressStartStop } from "../support/stress.ts";

const logger = pino({ level: "silent" });
let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

/** test/support/setup.ts fails this file when a socket, server or timer is left. */
describe("start and stop, ten at once", () => {
  it("the API server", async () => {
    const unused = Object.create(null) as never;
    const options: HttpServerOptions = {
      host: "127.0.0.1",
      port: 0,
      version: "0",
      grants: () => [],
      messages: unused,
      streams: unused,
      activity: unused,
      deadLetters: unused,
      erasures: unused,
      media: { settled: () => Promise.resolve() } as HttpServerOptions["media"],
      health: () => ({ status: "ok", ready: true, version: "0", components: {}, mends: [] }),
      status: () => ({}),
      probeStore: () => undefined,
      metrics: createMetrics(),
      metricsPublic: true,
      sampleMetrics: () => undefined,
      logger,
    };
    const server = new HttpServer(options);
    await stressStartStop(server, {
      rounds: 15,
      works: async () => {
        const response = await fetch(`http://127.0.0.1:${server.port}/healthz`, { headers: { connection: "close" } });
        expect(response.status).toBe(200);
        await response.text();
      },
    });
  });

  it("the handshake", async () => {
    const dispatcher = createGatewayDispatcher();
    const handshake = new Handshake({
      url: new URL("http://127.0.0.1:9/dingtalk/events"),
      accounts: () => [{ name: "main", appKey: "k" }],
      token: () => "t",
      userAgent: "test",
      dispatcher,
      logger,
      metrics: createMetrics(),
      onReady: () => undefined,
    });
    await stressStartStop(handshake, {
      works: () => expect.poll(() => handshake.health().code).toBe("gateway_unreachable"),
    });
    await dispatcher.close();
  });

  it("the whole bridge, again and again on one data directory", async () => {
    bridge = await startBridge();
    for (let n = 0; n < 10; n += 1) await bridge.restart();
    await bridge.dingtalk.say({ text: "nach zehn Neustarts" });
    expect(await bridge.dingtalk.until("sent")).toMatchObject({ text: "收到:nach zehn Neustarts" });
    expect(bridge.dingtalk.connections).toHaveLength(1);
  });
});
