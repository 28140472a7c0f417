import type { LookupAddress } from "node:dns";
import type { LookupFunction, Socket } from "node:net";
import { callbackify } from "node:util";
import { Agent, type Dispatcher, buildConnector, request } from "undici";
import { BridgeError } from "../domain/errors.ts";
import { Exchange, notFetched, tooLarge } from "./media-exchange.ts";
import { fileNameIn } from "./media-name.ts";
import {
  type Lookup,
  addressesOf,
  hostOf,
  isAllowed,
  parseTarget,
  publicAddresses,
  refused,
  systemLookup,
} from "./media-target.ts";

export interface Fetched {
  /**
   * Throws BridgeError `media_too_large`, `media_not_fetched` or `interrupted`. To be read once; leaving it before its end
   * closes the connection.
   */
  body: AsyncIterable<Uint8Array>;
  /** As the server or else the URL names it: not safe yet. */
  fileName: string | undefined;
  /** What the server says it is; the content decides. */
  declaredType: string | undefined;
  /** For a body that is never read. Otherwise it ends at the deadline at the latest. */
  close(): Promise<void> | void;
}

/**
 * Fetches a URL that somebody else chose; `timeoutMs` is for everything, the body included. Throws BridgeError
 * - `media_url_refused`: not http(s), a user name in it, an unusual port, too many redirects, or one that leads to an address
 *   that is not public
 * - `media_too_large`: by Content-Length, or as soon as more than `maxBytes` came
 * - `media_not_fetched`: no connection, no answer in time (retryable), or a status other than 2xx (5xx, 408, 425 and 429
 *   are retryable)
 * - `interrupted`: the caller's signal (or the signal's reason, when that is a BridgeError)
 *
 * No message says the URL: the query of a presigned one is a secret.
 */
export interface GuardedFetch {
  (url: string, options: { maxBytes: number; timeoutMs: number; signal?: AbortSignal | undefined }): Promise<Fetched>;
}

export interface GuardOptions {
  /**
   * Reached wherever they are: scheme, host and port, as `URL.origin`. Never through the proxy. By a redirect only from one of
   * them, else as any other address.
   */
  allowOrigins: () => readonly string[];
  userAgent: string;
  /**
   * For everything else, where there is a proxy; stays the caller's to close. The proxy resolves names itself: ours are
   * still checked before the request, and a name that this machine cannot resolve is not fetched, but a name whose answer
   * changes in between is up to the proxy's own rules. So is what the dispatcher connects to directly (`NO_PROXY`).
   */
  dispatcher?: Dispatcher | undefined;
  /**
   * With a proxy, names that this machine cannot resolve are the proxy's to judge: networks behind one often resolve no
   * outside name. For URLs from a source that is trusted, such as DingTalk's own answer. Default: they are not fetched.
   */
  proxyMayResolve?: boolean | undefined;
  /** Default: the system's resolver. */
  lookup?: Lookup | undefined;
  /** Makes the connection to addresses that were checked. Default: to just these. */
  connectorTo?: ((addresses: readonly LookupAddress[]) => buildConnector.connector) | undefined;
}

const MAX_REDIRECTS = 5;
const CONNECT_TIMEOUT_MS = 5_000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const PASSING = new Set([408, 425, 429]);

/**
 * A fetch that cannot be made to reach the bridge's own network. Names are resolved once, by the very connection that uses
 * the answer, and every address must be public: a second answer (DNS rebinding) has nothing to change. Redirects are
 * followed one by one, each checked like the first URL. No connection is used twice, so none outlives its check.
 */
export function createGuardedFetch(options: GuardOptions): GuardedFetch & { close(): Promise<void> } {
  const { allowOrigins, userAgent, dispatcher: proxy, lookup = systemLookup } = options;
  const direct = new Agent({ connect: checkedConnector({ ...options, lookup }), allowH2: false, pipelining: 0 });

  const checkForProxy = async (target: URL): Promise<void> => {
    try {
      await publicAddresses(hostOf(target), lookup);
    } catch (thrown) {
      if (thrown instanceof BridgeError || options.proxyMayResolve !== true) throw thrown;
    }
  };

  const get = async (target: URL, signal: AbortSignal): Promise<Dispatcher.ResponseData> => {
    const byProxy = isAllowed(target, allowOrigins()) ? undefined : proxy;
    if (byProxy !== undefined) await checkForProxy(target);
    signal.throwIfAborted();
    const response = await request(target, {
      dispatcher: byProxy ?? direct,
      // Nothing is decompressed: a small body would become one of any size.
      headers: { accept: "*/*", "accept-encoding": "identity", "user-agent": userAgent },
      signal,
      // The exchange has one deadline for all.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    // A body that nobody reads (yet) reports an abort as an event, which without a listener ends the process.
    response.body.on("error", () => {});
    return response;
  };

  const fetch: GuardedFetch = async (url, { maxBytes, timeoutMs, signal }) => {
    const exchange = new Exchange(timeoutMs, signal);
    try {
      let target = parseTarget(url, undefined, allowOrigins());
      for (let redirects = 0; ; redirects += 1) {
        const response = await exchange.until(get(target, exchange.signal));
        if (!REDIRECTS.has(response.statusCode)) return fetched(response, target, exchange, maxBytes);
        response.body.destroy();
        if (redirects === MAX_REDIRECTS) throw refused("too many redirects");
        const location = one(response.headers["location"]);
        if (location === undefined) throw notFetched("a redirect to nowhere", { retryable: false });
        const next = parseTarget(location, target, allowOrigins());
        // The list is for what the caller names itself: a stranger's server must not lead there.
        const isLedIn = isAllowed(next, allowOrigins()) && !isAllowed(target, allowOrigins());
        if (isLedIn) await exchange.until(publicAddresses(hostOf(next), lookup));
        target = next;
      }
    } catch (thrown) {
      const error = exchange.explain(thrown);
      exchange.end();
      throw error;
    }
  };
  return Object.assign(fetch, { close: () => direct.destroy() });
}

function fetched(response: Dispatcher.ResponseData, target: URL, exchange: Exchange, maxBytes: number): Fetched {
  const { statusCode: status, headers } = response;
  if (status < 200 || status > 299 || status === 206) {
    throw notFetched(`the server answered ${status}`, { retryable: status >= 500 || PASSING.has(status) });
  }
  const encoding = one(headers["content-encoding"])?.trim().toLowerCase() ?? "";
  if (encoding !== "" && encoding !== "identity") {
    throw notFetched("the server compresses although it was asked not to", { retryable: false });
  }
  if (Number(one(headers["content-length"])) > maxBytes) throw tooLarge(maxBytes);
  return {
    body: exchange.read(response.body, maxBytes),
    fileName: fileNameIn(one(headers["content-disposition"])) ?? lastSegment(target),
    declaredType: one(headers["content-type"]),
    close: () => exchange.end(),
  };
}

function checkedConnector(options: GuardOptions & { lookup: Lookup }): buildConnector.connector {
  const { allowOrigins, lookup, connectorTo = pinnedTo } = options;
  const addressesFor = ({ protocol, host, hostname }: buildConnector.Options) => {
    const target = URL.parse(`${protocol}//${host ?? hostname}`);
    const isOurs = target !== null && isAllowed(target, allowOrigins());
    return isOurs ? addressesOf(hostname, lookup) : publicAddresses(hostname, lookup);
  };
  const connect = async (wanted: buildConnector.Options): Promise<Socket> => {
    const connector = connectorTo(await addressesFor(wanted));
    return new Promise((resolve, reject) => {
      // undici's own leaves the socket out, against its type, when it fails.
      connector(wanted, (error, socket) => (error === null ? resolve(socket) : reject(error)));
    });
  };
  const connected = callbackify(connect);
  return (wanted, callback) =>
    connected(wanted, (error, socket) => (error === null ? callback(null, socket) : callback(error, null)));
}

function pinnedTo(addresses: readonly LookupAddress[]): buildConnector.connector {
  const lookup: LookupFunction = (_hostname, { all }, callback) => {
    const [first] = addresses;
    if (all === true) callback(null, [...addresses]);
    else callback(null, first?.address ?? "", first?.family);
  };
  return buildConnector({ lookup, timeout: CONNECT_TIMEOUT_MS, allowH2: false, autoSelectFamily: true });
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function lastSegment({ pathname }: URL): string | undefined {
  const segment = pathname.split("/").at(-1) ?? "";
  if (segment === "") return undefined;
  try {
    return decodeURIComponent(segment);
  } catch {
    // Percent signs that encode nothing.
    return segment;
  }
}
