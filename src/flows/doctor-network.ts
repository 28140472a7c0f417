import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { type Finding, fine, skipped } from "../domain/finding.ts";
import type { Clock } from "../ops/clock.ts";
import type { DingtalkDesk } from "./doctor-dingtalk.ts";

/** Further off than this nothing breaks, but times in logs and statistics mislead. */
const CLOCK_MS = 60_000;
const hostOf = (base: string): string => new URL(base).hostname.replace(/^\[|\]$/g, "");

export interface NetworkOptions {
  bases: readonly string[];
  proxy: { https: string | undefined; no: string | undefined };
  /** Other proxy variables that are set; they have no effect. */
  otherProxies: readonly string[];
  desk: DingtalkDesk;
  clock: Clock;
}

export async function checkDns({ bases, proxy }: NetworkOptions): Promise<Finding[]> {
  if (proxy.https !== undefined) return [skipped("dns", "the proxy resolves DingTalk's names")];
  const hosts = [...new Set(bases.map(hostOf))];
  return Promise.all(
    hosts.map(async (host): Promise<Finding> => {
      if (isIP(host) !== 0) return fine("dns", `${host} needs no name server`);
      try {
        const addresses = await lookup(host, { all: true });
        const [{ address } = { address: "" }] = addresses;
        return fine("dns", `${host} is ${address}${addresses.length > 1 ? ` and ${addresses.length - 1} more` : ""}`);
      } catch (thrown) {
        const cause = coerceError(thrown);
        const why = "code" in cause ? String(cause.code) : cause.message;
        const mend = "check the DNS of this machine or container; behind a proxy set HTTPS_PROXY";
        return { check: "dns", code: "dns_failed", level: "error", text: `${host} cannot be resolved (${why})`, mend };
      }
    }),
  );
}

export function checkProxy({ proxy, otherProxies }: NetworkOptions): Finding[] {
  if (proxy.https !== undefined) {
    const { host } = new URL(proxy.https);
    const exempt = proxy.no === undefined ? "" : `, except to ${proxy.no}`;
    return [fine("proxy", `calls to DingTalk and the Stream go through ${host}${exempt}`)];
  }
  if (otherProxies.length === 0) return [fine("proxy", "none is set")];
  return [
    {
      check: "proxy",
      code: "proxy_ignored",
      level: "note",
      text: `${otherProxies.join(", ")} has no effect: the bridge goes to DingTalk directly`,
      mend: "if it should use a proxy, set HTTPS_PROXY (an HTTP proxy)",
    },
  ];
}

/** Connection and TLS to each host, and DingTalk's clock. */
export async function checkNetwork(
  { bases, proxy, desk, clock }: NetworkOptions,
  signal: AbortSignal,
): Promise<Finding[]> {
  const looked = await Promise.all(
    [...new Set(bases)].map(async (base) => {
      const { host, protocol } = new URL(base);
      const began = clock.monotonic();
      try {
        const { date } = await desk.reach(base, signal);
        const ms = Math.round(clock.monotonic() - began);
        const tls = protocol === "https:" ? ", TLS is right" : ", without TLS";
        // The answer is dated at some moment of the exchange, in whole seconds.
        const skewMs = date === undefined ? undefined : clock.now() - ms / 2 - (date + 500);
        return { findings: [fine("network", `${host} answers (${ms} ms)${tls}`)], skewMs };
      } catch (thrown) {
        return { findings: [unreachable(thrown, proxy.https)], skewMs: undefined };
      }
    }),
  );
  const skewMs = looked.map((one) => one.skewMs).find((ms) => ms !== undefined);
  return [...looked.flatMap(({ findings }) => findings), clockFinding(skewMs)];
}

function unreachable(thrown: unknown, proxy: string | undefined): Finding {
  const error = coerceError(thrown);
  const { code, mend } = error instanceof BridgeError ? error : { code: "dingtalk_unreachable", mend: undefined };
  const way = mend ?? "check that this machine reaches DingTalk at port 443, directly or through HTTPS_PROXY";
  if (proxy === undefined) return { check: "network", code, level: "error", text: error.message, mend: way };
  // Which of the two does not answer, the failure does not say.
  const { host } = new URL(proxy);
  const text = `${error.message}, through the proxy ${host}`;
  return { check: "network", code, level: "error", text, mend: `check that ${host} (HTTPS_PROXY) answers. ${way}` };
}

function clockFinding(skewMs: number | undefined): Finding {
  if (skewMs === undefined) return skipped("clock", "DingTalk did not say what time it is");
  const seconds = Math.round(Math.abs(skewMs) / 1_000);
  if (Math.abs(skewMs) <= CLOCK_MS) return fine("clock", `within ${Math.max(1, seconds)} s of DingTalk's`);
  return {
    check: "clock",
    code: "clock_off",
    level: "warning",
    text: `this machine's clock is ${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} DingTalk's`,
    mend: "let the system keep it by NTP: timedatectl set-ntp true",
  };
}
