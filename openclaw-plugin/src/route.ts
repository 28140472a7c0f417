import type { IncomingMessage, ServerResponse } from "node:http";
import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { type Account, type Environment, isConfigured, listAccountIds, resolveAccount } from "./accounts.ts";
import { CONTRACT_HEADER, contractMismatch } from "./contract.ts";
import { readEnvelope } from "./envelope.ts";
import type { Hub } from "./hub.ts";
import type { Standing } from "./ledger.ts";
import { bearerToken, tokenMatches } from "./token.ts";
import { CONTRACT_VERSION, type Decision, type Envelope, EnvelopeError } from "./types.ts";

export const EVENTS_PATH = "/dingtalk/events";
const BODY_LIMIT = 1024 * 1024;
/** The bridge waits longer than this, and an answer is due within it. */
const ANSWER_WITHIN_MS = 5_000;
const ASK_AGAIN_S = 2;

export interface RouteOptions {
  hub: Hub;
  /** OpenClaw's configuration as it is now. */
  config: () => OpenClawConfig;
  env: Environment;
  name: string;
  version: string;
  /** `openclaw/<version>`. */
  host: string;
  answerWithinMs?: number;
}

/** The bridge's side of the plugin: `POST` brings an envelope, `GET` is the handshake. */
export function createRoute(options: RouteOptions): (req: IncomingMessage, res: ServerResponse) => Promise<boolean> {
  return async (req, res) => {
    try {
      await answer(options, req, res);
    } catch (error) {
      problem(res, 500, "internal", error instanceof Error ? error.message : String(error));
    }
    return true;
  };
}

async function answer(options: RouteOptions, req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.method !== "GET" && req.method !== "POST") {
    res.setHeader("allow", "GET, POST");
    return problem(res, 405, "method_not_allowed", "GET asks who is here, POST brings an envelope");
  }
  const cfg = options.config();
  const accounts = listAccountIds(cfg, options.env).map((id) => resolveAccount(cfg, id, options.env));
  const token = bearerToken(req.headers.authorization);
  const known = accounts.filter(
    (account) => token !== undefined && isConfigured(account) && tokenMatches(token, account.tokens),
  );
  if (known.length === 0) {
    res.setHeader("www-authenticate", 'Bearer realm="dingtalk"');
    return problem(res, 401, "unauthorized", "the bearer token belongs to no account of channels.dingtalk");
  }
  if (req.method === "GET") return json(res, 200, greeting(options, known));

  const mismatch = contractMismatch(req.headers[CONTRACT_HEADER]);
  if (mismatch) return problem(res, 400, "unsupported_version", `${mismatch.detail}; ${mismatch.mend}`);
  const body = await readBody(req);
  if (body === undefined) return problem(res, 413, "invalid_envelope", `an envelope has at most ${BODY_LIMIT} bytes`);
  let envelope: Envelope;
  try {
    envelope = readEnvelope(body);
  } catch (error) {
    if (error instanceof EnvelopeError) return problem(res, 400, error.code, error.message);
    throw error;
  }
  return await take(options, { accounts, known, envelope }, res);
}

function greeting({ name, version, host }: RouteOptions, accounts: Account[]): object {
  return {
    contract: CONTRACT_VERSION,
    name,
    version,
    host,
    accounts: accounts.map(({ bridgeAccount, appKey, enabled, dmPolicy }) => ({
      id: bridgeAccount,
      appKey,
      enabled,
      dmPolicy,
    })),
  };
}

async function take(
  { hub, answerWithinMs = ANSWER_WITHIN_MS }: RouteOptions,
  { accounts, known, envelope }: { accounts: Account[]; known: Account[]; envelope: Envelope },
  res: ServerResponse,
): Promise<void> {
  const named = (account: Account): boolean =>
    account.bridgeAccount === envelope.account || account.accountId === envelope.account;
  const account = known.find(named);
  // Not one of the contract's codes, so the bridge keeps the message while an operator mends the configuration.
  if (!account) {
    return accounts.some(named)
      ? problem(res, 403, "account_forbidden", `the token does not speak for account ${envelope.account}`)
      : problem(res, 422, "account_unknown", `channels.dingtalk has no account ${envelope.account}`);
  }
  if (!account.enabled)
    return problem(res, 422, "account_disabled", `account ${envelope.account} is disabled in channels.dingtalk`);

  if (envelope.type !== "message")
    return json(res, 200, { decision: "skipped", reason: `skipped: ${envelope.type} has no effect here` });
  const done = hub.ledger.taken(envelope.id);
  if (done) return json(res, done.wasTold ? 409 : 200, done.decision);
  let entry = hub.ledger.open(envelope.id);
  if (entry?.standing?.kind === "deferred") return held(res);
  if (!entry) {
    const mailbox = hub.mailbox(account.accountId);
    const { conversation, sender } = envelope.message;
    entry = hub.ledger.begin(envelope.id, {
      account: account.accountId,
      conversation: conversation.id,
      sender: sender.id,
    });
    if (!mailbox?.put({ envelope, entry })) entry.note({ kind: "failed", reason: "the channel is not running" });
  }
  const standing = await within(entry.first, answerWithinMs);
  say(res, standing);
  if (standing?.kind === "taken") hub.ledger.taken(envelope.id);
}

function say(res: ServerResponse, standing: Standing | undefined): void {
  // Undecided means begun: it is dispatched once only, and the bridge asks again.
  if (!standing || standing.kind === "deferred") return held(res);
  if (standing.kind === "taken") return json(res, 200, standing.decision satisfies Decision);
  res.setHeader("retry-after", String(ASK_AGAIN_S));
  return problem(res, 503, "turn_failed", standing.reason);
}

function held(res: ServerResponse): void {
  res.setHeader("retry-after", String(ASK_AGAIN_S));
  json(res, 202, { decision: "held" });
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Undefined when the body is too long; the rest of it is read and thrown away so that the answer arrives. */
async function readBody(req: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= BODY_LIMIT) chunks.push(chunk);
  }
  return bytes <= BODY_LIMIT ? Buffer.concat(chunks).toString("utf8") : undefined;
}

function problem(res: ServerResponse, status: number, code: string, detail: string): void {
  send(res, status, "application/problem+json", {
    type: "about:blank",
    title: code.replaceAll("_", " "),
    status,
    code,
    detail,
  });
}

const json = (res: ServerResponse, status: number, body: object): void => send(res, status, "application/json", body);

function send(res: ServerResponse, status: number, contentType: string, body: object): void {
  if (res.headersSent) return;
  res.statusCode = status;
  res.setHeader("content-type", `${contentType}; charset=utf-8`);
  res.setHeader("cache-control", "no-store");
  res.end(JSON.stringify(body));
}
