import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { Type } from "typebox";
import type { HealthReport } from "../ops/health.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Scope } from "../flows/messages.ts";
import type { requireToken } from "./auth.ts";

export interface OperationsOptions {
  health: () => HealthReport;
  /** Body of `GET /v1/status`, for the accounts that the caller may see. */
  status: (scope: Scope) => Record<string, unknown>;
  /** Throws when the store does not answer. */
  probeStore: () => void;
  metrics: Metrics;
  metricsPublic: boolean;
  /** Brings gauges up to date before they are read. */
  sampleMetrics: () => void;
  authenticate: ReturnType<typeof requireToken>;
}

const Report = Type.Object(
  { status: Type.String() },
  { additionalProperties: true, description: "Components with their states and mends; no secrets" },
);

/** Probes, status, metrics and the API's own description. */
export const operationRoutes: FastifyPluginAsyncTypebox<OperationsOptions> = async (app, options) => {
  const probe = (url: string, summary: string, passes: (report: HealthReport) => boolean): void => {
    app.get(
      url,
      { schema: { summary, security: [], response: { 200: Report, 503: Report } } },
      async (_request, reply) => {
        const { ready, ...report } = options.health();
        return reply.status(passes({ ready, ...report }) ? 200 : 503).send(report);
      },
    );
  };
  probe(
    "/healthz",
    "Does the bridge work? 503 while starting or down",
    ({ status }) => status === "ok" || status === "degraded",
  );
  probe("/readyz", "As /healthz, and not stopping", ({ ready }) => ready);

  app.get(
    "/livez",
    { schema: { summary: "The event loop turns and the store answers", security: [], response: { 200: Report } } },
    async () => {
      options.probeStore();
      return { status: "ok" };
    },
  );

  app.get(
    "/v1/status",
    {
      onRequest: options.authenticate,
      schema: {
        summary: "Accounts, connections, queues, gateway",
        response: { 200: Type.Object({}, { additionalProperties: true }) },
      },
    },
    async (request) => options.status(request.scope),
  );

  app.get(
    "/metrics",
    {
      schema: { summary: "Prometheus metrics", ...(options.metricsPublic && { security: [] }) },
      ...(!options.metricsPublic && { onRequest: options.authenticate }),
    },
    async (_request, reply) => {
      options.sampleMetrics();
      const text = await options.metrics.registry.metrics();
      return reply.type(options.metrics.registry.contentType).send(text);
    },
  );

  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
};
