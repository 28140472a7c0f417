import { Agent as HttpsAgent, type Agent as HttpAgent } from "node:https";
import { Agent, type Dispatcher, EnvHttpProxyAgent } from "undici";

export interface ProxySettings {
  /** `HTTPS_PROXY`: used for every call to DingTalk and for the WebSocket. */
  https: string | undefined;
  /** `NO_PROXY`: hosts reached directly. */
  no: string | undefined;
}

/** HTTP/2 stays off until it was tried against DingTalk (undici 8 would negotiate it). */
const CONNECTION = { connect: { timeout: 5_000 }, allowH2: false } as const;

/** Connections to DingTalk's HTTP APIs; the caller closes it. */
export function createDingtalkDispatcher(proxy: ProxySettings): Dispatcher {
  if (proxy.https === undefined) return new Agent(CONNECTION);
  return new EnvHttpProxyAgent({
    ...CONNECTION,
    httpProxy: proxy.https,
    httpsProxy: proxy.https,
    noProxy: proxy.no ?? "",
  });
}

/** Agent for the Stream WebSocket: Node's own proxy support, as `ws` takes an http.Agent. Undefined without a proxy. */
export function createWebSocketAgent(proxy: ProxySettings): ((url: URL) => HttpAgent | undefined) | undefined {
  if (proxy.https === undefined) return undefined;
  const proxyEnv = { HTTPS_PROXY: proxy.https, ...(proxy.no !== undefined && { NO_PROXY: proxy.no }) };
  return (url) => (url.protocol === "wss:" ? new HttpsAgent({ proxyEnv }) : undefined);
}
