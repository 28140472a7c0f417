import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { BridgeError, type ErrorCode } from "../domain/errors.ts";
import type { Logger } from "../ops/logger.ts";

/** RFC 9457, with a closed `code` and, where we know one, the mend. */
export interface Problem {
  type: "about:blank";
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  mend?: string;
}

const STATUS: Partial<Record<ErrorCode, number>> = {
  invalid_request: 400,
  unsupported_version: 400,
  unauthorized: 401,
  account_forbidden: 403,
  not_found: 404,
  stream_unknown: 404,
  stream_closed: 409,
  already_sent: 409,
  not_cancellable: 409,
  not_finished: 409,
  account_required: 422,
  account_unknown: 422,
  card_template_missing: 422,
  card_unknown: 422,
  media_empty: 400,
  // A body that names it; an upload that is it gets 413 from its own route.
  media_too_large: 422,
  media_unknown: 422,
  media_unsupported: 422,
  media_url_refused: 422,
  content_type_not_supported: 422,
  idempotency_key_reused: 422,
  queue_full: 503,
  disk_low: 503,
  store_unavailable: 503,
  stopping: 503,
};

const TITLES: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  422: "Unprocessable Content",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

const RETRY_AFTER_S = 5;

const TOLD: ReadonlySet<ErrorCode> = new Set(["queue_full", "disk_low", "stopping"]);

export function problemOf(
  code: ErrorCode,
  detail: string,
  options: { status?: number; mend?: string | undefined } = {},
): Problem {
  const status = options.status ?? STATUS[code] ?? 500;
  return {
    type: "about:blank",
    title: TITLES[status] ?? "Error",
    status,
    code,
    detail,
    ...(options.mend !== undefined && { mend: options.mend }),
  };
}

export async function sendProblem(reply: FastifyReply, problem: Problem): Promise<void> {
  if (problem.status === 503) reply.header("retry-after", String(RETRY_AFTER_S));
  if (problem.status === 401) reply.header("www-authenticate", "Bearer");
  await reply.status(problem.status).type("application/problem+json").send(JSON.stringify(problem));
}

/** Turns whatever a route threw into a problem document; what is our own fault is logged and tells nothing. */
export function errorHandler(logger: Logger) {
  return async (error: FastifyError | BridgeError, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    await sendProblem(reply, fromError(error, request, logger));
  };
}

function fromError(error: FastifyError | BridgeError, request: FastifyRequest, logger: Logger): Problem {
  if (error instanceof BridgeError) {
    const fallback = error.retryable && STATUS[error.code] === undefined ? { status: 503 } : {};
    const problem = problemOf(error.code, error.message, { mend: error.mend, ...fallback });
    // What lasts, and hits every caller, has a line of its own where it begins.
    if (problem.status >= 500 && !TOLD.has(error.code))
      logger.error({ err: error, route: request.routeOptions.url }, "API call failed");
    return problem;
  }
  if (error.validation) return problemOf("invalid_request", validationDetail(error));
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) return problemOf("invalid_request", error.message, { status });
  logger.error({ err: error, route: request.routeOptions.url }, "API call failed");
  return problemOf("internal", "the bridge failed; its log says why", { status: 500 });
}

/** The first thing wrong, with the field's path: `content.text: must be string`. */
function validationDetail(error: FastifyError): string {
  const first = error.validation?.[0];
  if (!first) return error.message;
  const path = first.instancePath.split("/").slice(1);
  const missing = first.params["missingProperty"] ?? first.params["additionalProperty"];
  if (typeof missing === "string") path.push(missing);
  const field = path.join(".") || (error.validationContext ?? "body");
  const allowed = first.params["allowedValues"] ?? first.params["allowedValue"];
  const suffix = allowed === undefined ? "" : `: ${JSON.stringify(allowed)}`;
  return `${field}: ${first.message ?? "is not valid"}${suffix}`;
}
