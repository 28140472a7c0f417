import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

/** What IPv6 hands out for the Internet (RFC 4291 §2.4): everything else is local, reserved or a translation. */
const GLOBAL = ipaddr.IPv6.parseCIDR("2000::/3");
/** NAT64 with the well-known prefix (RFC 6052): what a name resolves to on a network that has IPv6 only. */
const NAT64 = ipaddr.IPv6.parseCIDR("64:ff9b::/96");
const MAPPED = ipaddr.IPv6.parseCIDR("::ffff:0:0/96");

/**
 * Whether an address, as `dns.lookup` or a URL's host gives it (without brackets), belongs to the public Internet and to
 * one machine there. IPv4-mapped and NAT64 addresses count as the IPv4 address in them. Refused: private, loopback,
 * link-local (cloud metadata), shared, multicast, broadcast, benchmark, documentation and reserved ranges; 6to4 and Teredo,
 * which lead to an IPv4 address of the sender's choice; anything that is no address.
 */
export function isPublicAddress(address: string): boolean {
  // A zone only makes sense for an address that is refused anyway.
  if (isIP(address) === 0 || address.includes("%")) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.kind() === "ipv4") return parsed.range() === "unicast";
  if (parsed.match(MAPPED) || parsed.match(NAT64)) {
    return ipaddr.fromByteArray(parsed.toByteArray().slice(12)).range() === "unicast";
  }
  return parsed.match(GLOBAL) && parsed.range() === "unicast";
}
