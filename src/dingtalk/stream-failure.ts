import { BridgeError } from "../domain/errors.ts";

const HOSTS = "api.dingtalk.com:443 and wss-open-connection.dingtalk.com:443";
const TIMEOUTS = new Set([
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
  "ABORT_ERR",
]);
const DNS = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "ENODATA"]);

/** The peer did not answer in time. `step` is what was tried, e.g. "open call to api.dingtalk.com". */
export function timedOut(step: string, ms: number): BridgeError {
  return new BridgeError("stream_timeout", `${step}: no answer within ${ms} ms`, {
    retryable: true,
    mend: `Check that this machine reaches ${HOSTS}, directly or through HTTPS_PROXY.`,
  });
}

/**
 * An error of the network below HTTP and WebSocket (DNS, refused, reset, TLS, time-out) as one of ours. The text names the
 * step and the system's code; the original stays as `cause`, it carries neither body nor query.
 */
export function networkFailure(step: string, error: unknown): BridgeError {
  const code = systemCode(error);
  const options = { retryable: true, cause: error };
  if (code !== undefined && TIMEOUTS.has(code)) {
    return new BridgeError("stream_timeout", `${step}: timed out (${code})`, {
      ...options,
      mend: `Check that this machine reaches ${HOSTS}, directly or through HTTPS_PROXY.`,
    });
  }
  if (code?.startsWith("HPE_") === true || (error instanceof Error && error.name === "HTTPParserError")) {
    // Without the cause: it carries a piece of what was received.
    return new BridgeError("stream_bad_answer", `${step}: the answer is not HTTP`, {
      retryable: true,
      mend: "Something between here and DingTalk answers in its place: check proxy and firewall.",
    });
  }
  const proxy = proxyRefusal(error);
  if (proxy !== undefined) {
    return new BridgeError("stream_unreachable", `${step}: the proxy refuses to pass it on (${proxy})`, {
      ...options,
      mend: `Check user name, password and rules of the proxy in HTTPS_PROXY: it must pass ${HOSTS}.`,
    });
  }
  return new BridgeError("stream_unreachable", `${step}: ${reasonOf(code)}`, { ...options, mend: mendOf(code) });
}

/** A CONNECT that was not answered with 200: Node's agent gives it a code, undici words it. Returns the status, or the code. */
function proxyRefusal(error: unknown, depth = 0): string | undefined {
  if (!(error instanceof Error) || depth > 4) return undefined;
  if ("code" in error && error.code === "ERR_PROXY_TUNNEL") {
    return "statusCode" in error ? `status ${String(error.statusCode)}` : error.code;
  }
  const status = /^Proxy response \((\d{3})\)/.exec(error.message)?.[1];
  return status === undefined ? proxyRefusal(error.cause, depth + 1) : `status ${status}`;
}

function reasonOf(code: string | undefined): string {
  if (code === undefined) return "no connection";
  if (DNS.has(code)) return `the name cannot be resolved (${code})`;
  if (isTls(code)) return `TLS failed (${code})`;
  return `no connection (${code})`;
}

function mendOf(code: string | undefined): string {
  if (code !== undefined && DNS.has(code)) return "Check the DNS of this machine or container.";
  if (code !== undefined && isTls(code)) {
    return `A proxy may intercept TLS: exempt ${HOSTS} from inspection, or give its certificate by NODE_EXTRA_CA_CERTS.`;
  }
  return `Check that this machine reaches ${HOSTS}, directly or through HTTPS_PROXY.`;
}

const isTls = (code: string): boolean =>
  /^(ERR_TLS|ERR_SSL|CERT_|EPROTO)|SELF_SIGNED|ISSUER_CERT|LEAF_SIGNATURE/.test(code);

/** The innermost system code: undici and Node wrap it in `cause`, or in `errors` when several addresses were tried. */
function systemCode(error: unknown, depth = 0): string | undefined {
  if (!(error instanceof Error) || depth > 4) return undefined;
  const inner = error instanceof AggregateError ? systemCode(error.errors[0], depth + 1) : undefined;
  const own = "code" in error && typeof error.code === "string" ? error.code : undefined;
  return inner ?? systemCode(error.cause, depth + 1) ?? own;
}

/** Text from a peer, fit for a log line: one line, short, and without the given secrets should the peer echo them. */
export function quotePeer(text: string, secrets: readonly string[], limit = 200): string {
  let clean = text;
  for (const secret of secrets) {
    for (const form of spellings(secret)) clean = clean.replaceAll(form, "[redacted]");
  }
  clean = clean.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, " ").trim();
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean;
}

/** As it is, encoded as part of a path, and as it stands in a query. */
function spellings(secret: string): string[] {
  if (secret === "") return [];
  return [secret, encodeURIComponent(secret), new URLSearchParams({ s: secret }).toString().slice(2)];
}
