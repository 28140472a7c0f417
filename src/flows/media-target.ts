import type { LookupAddress } from "node:dns";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { BridgeError } from "../domain/errors.ts";
import { isPublicAddress } from "./media-public-address.ts";

/** All addresses of a name; rejects when it has none. */
export type Lookup = (hostname: string) => Promise<readonly LookupAddress[]>;

export const systemLookup: Lookup = (hostname) => lookup(hostname, { all: true });

/** Longer ones are no links that people or models write. */
const MAX_URL = 8_192;
/** Ports below are those of the system's own services: mail, shells, directories. */
const FIRST_FREE_PORT = 1_024;
const WEB_PORTS = new Set([80, 443]);

export function refused(detail: string, cause?: unknown): BridgeError {
  return new BridgeError("media_url_refused", detail, { cause });
}

/** The URL when the bridge may fetch it as far as its words go. Throws BridgeError `media_url_refused`; says no URL in it. */
export function parseTarget(url: string, base: URL | undefined, allowOrigins: readonly string[]): URL {
  if (url.length > MAX_URL) throw refused("the URL is too long");
  const target = URL.parse(url, base?.href);
  if (target === null) throw refused("not a URL");
  if (target.protocol !== "http:" && target.protocol !== "https:")
    throw refused("only http and https URLs are fetched");
  if (target.username !== "" || target.password !== "")
    throw refused("URLs with a user name or password are not fetched");
  target.hash = "";
  if (isAllowed(target, allowOrigins)) return target;
  const port = target.port === "" ? 0 : Number(target.port);
  if (port !== 0 && port < FIRST_FREE_PORT && !WEB_PORTS.has(port)) throw refused(`port ${port} is not fetched from`);
  if (/^(?:.*\.)?localhost\.?$/.test(target.hostname)) throw refused("the URL leads to this machine");
  return target;
}

/** By scheme, host and port, all three. */
export function isAllowed(target: URL, allowOrigins: readonly string[]): boolean {
  return allowOrigins.some((origin) => URL.parse(origin)?.origin === target.origin);
}

/** The addresses of a host: a name, or an address without brackets, which is its own. Throws what `lookup` throws. */
export async function addressesOf(host: string, lookup: Lookup): Promise<readonly LookupAddress[]> {
  const family = isIP(host);
  const addresses = family === 0 ? await lookup(host) : [{ address: host, family }];
  if (addresses.length === 0) throw new Error("the name has no address");
  return addresses;
}

/**
 * As `addressesOf`, every one of them public. Throws BridgeError `media_url_refused` when one is not: a name with a public
 * and a private address is made to get past a check.
 */
export async function publicAddresses(host: string, lookup: Lookup): Promise<readonly LookupAddress[]> {
  const addresses = await addressesOf(host, lookup);
  if (!addresses.every(({ address }) => isPublicAddress(address))) {
    throw refused("the URL leads to an address that is not public");
  }
  return addresses;
}

/** The host of a URL as a connection takes it. */
export function hostOf(target: URL): string {
  return target.hostname.replace(/^\[|\]$/g, "");
}
