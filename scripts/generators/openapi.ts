import { pino } from "pino";
import { buildServer } from "../../src/http/server.ts";
import type { HttpServerOptions } from "../../src/http/server.ts";
import { createMetrics } from "../../src/ops/metrics.ts";

/** `docs/generated/openapi.json`: what a running bridge serves at `/openapi.json`, less the release. */
export async function openApiDocument(): Promise<string> {
  const never = (): never => {
    throw new Error("no route is called while the document is made");
  };
  const options: HttpServerOptions = {
    host: "127.0.0.1",
    port: 0,
    version: "1",
    grants: () => [],
    messages: Object.create(null) as HttpServerOptions["messages"],
    streams: Object.create(null) as HttpServerOptions["streams"],
    activity: Object.create(null) as HttpServerOptions["activity"],
    deadLetters: Object.create(null) as HttpServerOptions["deadLetters"],
    erasures: Object.create(null) as HttpServerOptions["erasures"],
    media: { maxBytes: 0 } as HttpServerOptions["media"],
    health: never,
    status: never,
    probeStore: never,
    metrics: createMetrics(),
    metricsPublic: false,
    sampleMetrics: never,
    logger: pino({ level: "silent" }),
  };
  const app = await buildServer(options, new AbortController().signal);
  const document = app.swagger();
  await app.close();
  return `${JSON.stringify(document, null, 2)}\n`;
}
