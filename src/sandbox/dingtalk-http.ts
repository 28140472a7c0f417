import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import multipart from "@fastify/multipart";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isObject, type ApiCall, type ApiContext, type ApiDefinition } from "./dingtalk-api.ts";
import { answerOf, oapiError, permissionDenied, type ApiAnswer, type FileBody } from "./dingtalk-errors.ts";
import { isAnswered, isExecuted, type ApiFault, type FaultPlan } from "./dingtalk-faults.ts";
import { sendBody, statedLength, type Spoilt } from "./dingtalk-media-stream.ts";
import { readUpload, type UploadForm } from "./dingtalk-media-upload.ts";
import type { Timers } from "./dingtalk-timers.ts";
import type { RequestRecord, SentMessage } from "./dingtalk-types.ts";

/** What the HTTP side needs besides the context of the APIs. */
export interface HttpDeps {
  context: ApiContext;
  faults: FaultPlan;
  timers: Timers;
}

/** Registers APIs on the server. */
export function serveApis(server: FastifyInstance, apis: readonly ApiDefinition[], deps: HttpDeps): void {
  for (const api of apis.filter(({ multipart }) => !multipart)) {
    server.route({
      method: api.method,
      url: api.path,
      exposeHeadRoute: false,
      handler: (request, reply) => serve(api, request, reply, deps),
    });
  }
  // In a scope of its own: elsewhere every body is a buffer.
  server.register(async (scope) => {
    await scope.register(multipart);
    for (const api of apis.filter(({ multipart }) => multipart)) {
      scope.route({
        method: api.method,
        url: api.path,
        handler: async (request, reply) => {
          const form = request.isMultipart() ? await readUpload(request).catch(() => undefined) : undefined;
          // Broken off: nobody is there to answer.
          if (!request.raw.complete) return reply.hijack();
          serve(api, request, reply, deps, form);
        },
      });
    }
  });
  server.setNotFoundHandler((request, reply) => serve(unknownApi, request, reply, deps));
}

/** What does not exist at DingTalk either; using it is a mistake of the client (dingtalk-protocol.md §6.5). */
const unknownApi: ApiDefinition = {
  name: "unknown",
  method: "GET",
  path: "",
  host: "api",
  auth: "none",
  paid: false,
  limited: false,
  handle: ({ record }, { records }) => {
    records.problem(`no such API: ${record.method} ${record.path}`);
    return answerOf("notFound");
  },
};

/** DingTalk's time with fractions, from a clock that never goes back. */
const arrival = (): number => performance.timeOrigin + performance.now();

function serve(
  api: ApiDefinition,
  request: FastifyRequest,
  reply: FastifyReply,
  deps: HttpDeps,
  form?: UploadForm,
): void {
  const { context } = deps;
  const started = performance.now();
  const url = new URL(request.url, "http://localhost");
  const raw = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const json = jsonOf(raw, request.headers["content-type"]);
  const record: RequestRecord = {
    seq: context.records.nextSeq(),
    at: arrival(),
    app: undefined,
    api: api.name,
    method: request.method,
    path: url.pathname,
    status: 0,
    code: "",
    durationMs: 0,
    bytes: form?.media?.bytes ?? raw.length,
    executed: false,
    ...(api.secret || json === undefined ? {} : { body: json }),
  };
  context.records.requests.add(record);
  const appeared: SentMessage[] = [];
  const call: ApiCall = {
    app: undefined,
    headers: request.headers,
    query: url.searchParams,
    params: request.params as Record<string, string>,
    raw,
    json,
    form,
    record,
    appear: (message) => {
      const sent = { ...message, seq: context.records.nextSeq(), at: Date.now(), answered: true };
      appeared.push(sent);
    },
  };
  call.app = api.auth === "token" ? tokenOwner(call, api, context) : api.identify?.(call, context);
  record.app = call.app?.appKey;

  const fault = deps.faults.takeApi(api.name, record.app);
  if (fault) record.fault = fault.kind;
  const answer = isExecuted(fault) ? work(api, call, context) : undefined;
  for (const sent of appeared) {
    sent.answered = isAnswered(fault);
    context.records.sent.add(sent);
    context.records.emit("sent", sent);
  }

  reply.hijack();
  let done = false;
  const finish = (status: number, code: string): void => {
    if (done) return;
    done = true;
    record.status = status;
    record.code = code;
    record.durationMs = performance.now() - started;
    context.records.emit("request", record);
  };
  // The caller went away before the answer: whatever appeared was never confirmed to it.
  reply.raw.on("close", () => {
    if (!done) for (const sent of appeared) sent.answered = false;
    finish(499, "closed");
  });
  const respond = (): void => answerWith(reply.raw, fault, answer, finish, deps);
  const wait = fault
    ? deps.faults.delay(fault) + (fault.kind === "gatewayTimeout" ? context.knobs.gatewayTimeoutMs : 0)
    : 0;
  if (wait > 0) deps.timers.after(wait, respond);
  else respond();
}

/** Checks in the order of the real gateway, then the API itself. */
function work(api: ApiDefinition, call: ApiCall, context: ApiContext): ApiAnswer {
  const refused = refusal(api, call, context);
  if (refused) return refused;
  call.record.executed = true;
  return api.handle(call, context);
}

function refusal(api: ApiDefinition, call: ApiCall, context: ApiContext): ApiAnswer | undefined {
  const { limits, world } = context;
  if (api.host === "oss") return undefined;
  const blocked = limits.ip();
  if (blocked) return blocked;
  const { app } = call;
  if (api.auth === "token") {
    if (!app) return answerOf(api.host === "api" ? "invalidAuthentication" : "oapiInvalidToken");
    if (api.scope !== undefined && app.missingScopes.includes(api.scope)) {
      return api.host === "api"
        ? permissionDenied([api.scope])
        : oapiError(60011, `没有调用该接口的权限: ${api.scope}`);
    }
  }
  if (!app) return undefined;
  const throttled = api.limited ? limits.call(app, api.name, api.host) : undefined;
  if (throttled) return throttled;
  if (api.paid && !world.takeCall(app)) return answerOf(api.host === "api" ? "apiCountLimit" : "oapiCountLimit");
  return undefined;
}

/** Header on api.dingtalk.com, query on oapi.dingtalk.com. */
function tokenOwner(call: ApiCall, api: ApiDefinition, context: ApiContext): ApiCall["app"] {
  const header = call.headers["x-acs-dingtalk-access-token"];
  const token = api.host === "oapi" ? call.query.get("access_token") : header;
  if (token === undefined || token === null) {
    context.records.problem(`${api.name}: no access token where ${api.host} looks for it`);
  }
  return context.world.tokenOwner(Array.isArray(token) ? token[0] : token);
}

function jsonOf(raw: Buffer, contentType: string | undefined): Record<string, unknown> | undefined {
  if (raw.length === 0 || !contentType?.includes("application/json")) return undefined;
  try {
    const parsed: unknown = JSON.parse(raw.toString("utf8"));
    return isObject(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

const faultHtml = "<html><head><title>error</title></head><body><h1>error</h1></body></html>\n";
const faultXml = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>error</Code></Error>';

function answerWith(
  raw: ServerResponse,
  fault: ApiFault | undefined,
  real: ApiAnswer | undefined,
  finish: (status: number, code: string) => void,
  deps: HttpDeps,
): void {
  if (raw.destroyed) return;
  const write = (answer: ApiAnswer): void => {
    if (answer.file) return stream(answer, answer.file, { kind: "whole" });
    const payload = payloadOf(answer);
    finish(answer.status, answer.code);
    head(raw, answer, payload.length).end(payload);
  };
  const stream = (answer: ApiAnswer, body: FileBody, spoilt: Spoilt): void => {
    if (spoilt.kind === "shortBody") finish(499, "cut");
    raw.once("finish", () => finish(answer.status, answer.code));
    head(raw, answer, statedLength(body, spoilt), body.headers);
    void sendBody(raw, body, spoilt, deps.timers);
  };
  if (!fault) return write(real ?? answerOf("systemError"));
  switch (fault.kind) {
    case "hang":
      return;
    case "reset":
      finish(499, "reset");
      // Not `raw.socket`: that is null while the answer before this one is still being flushed.
      raw.req.socket.resetAndDestroy();
      return;
    case "answer": {
      const { status = 200, body, contentType } = fault;
      return write({ status, body, code: codeIn(body), ...(contentType === undefined ? {} : { contentType }) });
    }
    case "error":
      return write(answerOf(fault.error));
    case "html":
      return write({ status: fault.status ?? 502, body: faultHtml, code: "html", contentType: "text/html" });
    case "xml":
      return write({ status: fault.status ?? 200, body: faultXml, code: "xml", contentType: "application/xml" });
    case "gatewayTimeout":
      return write(answerOf("gatewayTimeout"));
    case "slow":
      return write(real ?? answerOf("systemError"));
    case "endpoint": {
      const body = isObject(real?.body) && real.code === "ok" ? { ...real.body, endpoint: fault.endpoint } : real?.body;
      return write({ ...(real ?? answerOf("systemError")), body });
    }
    case "slowBody":
    case "truncated":
    case "shortBody":
    case "stall": {
      const answer = real ?? answerOf("systemError");
      return stream(answer, answer.file ?? bodyOf(payloadOf(answer)), fault);
    }
  }
}

function head(
  raw: ServerResponse,
  answer: ApiAnswer,
  length: number | undefined,
  more: Record<string, string> = {},
): ServerResponse {
  return raw.writeHead(answer.status, {
    server: answer.file ? "AliyunOSS" : "DingTalk/1.0.0",
    "content-type": answer.contentType ?? "application/json;charset=utf-8",
    ...(length === undefined ? {} : { "content-length": length }),
    "x-acs-request-id": randomUUID().toUpperCase(),
    "x-acs-trace-id": randomUUID().replaceAll("-", ""),
    ...more,
  });
}

const bodyOf = (payload: Buffer): FileBody => ({
  open: () => Readable.from([payload], { objectMode: false }),
  skip: 0,
  bytes: payload.length,
  headers: {},
});

const payloadOf = (answer: ApiAnswer): Buffer =>
  Buffer.from(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));

function codeIn(body: unknown): string {
  if (!isObject(body)) return "injected";
  const code = body["code"] ?? body["errcode"];
  return typeof code === "string" || typeof code === "number" ? String(code) : "injected";
}
