import type { Health, Service } from "./service.ts";

/** State of an account's Stream connection, as far as health needs it. */
export interface AccountHealth {
  name: string;
  /** It has connected, or failed to, at least once since the start. */
  settled: boolean;
  connected: boolean;
  /** Milliseconds without any connection; 0 while connected. */
  awayMs: number;
}

export interface HealthReport {
  status: "starting" | "ok" | "degraded" | "down";
  ready: boolean;
  version: string;
  components: Record<string, Health>;
  /** What an operator can do, most pressing first. */
  mends: string[];
}

/** An account may be away this long before the bridge calls itself down. */
const AWAY_GRACE_MS = 60_000;

/**
 * Health of the whole (design §6): `starting` until every account has connected or failed once; `down` when the store
 * takes no writes or no account is connected nor shortly away; `degraded` when any part is not right.
 */
export function reportHealth(options: {
  version: string;
  services: readonly Pick<Service, "name" | "health">[];
  accounts: AccountHealth[];
  stopping: boolean;
}): HealthReport {
  const components: Record<string, Health> = {};
  for (const service of options.services) components[service.name] = service.health();
  const all = Object.values(components);
  const starting = options.accounts.some(({ settled }) => !settled);
  const reachable = options.accounts.some(({ connected, awayMs }) => connected || awayMs < AWAY_GRACE_MS);
  const storeDown = all.some(
    ({ status, code }) => status === "down" && (code === "store_unavailable" || code === "disk_low"),
  );

  let status: HealthReport["status"] = "ok";
  if (storeDown || (!starting && !reachable)) status = "down";
  else if (starting) status = "starting";
  else if (all.some((health) => health.status === "degraded" || health.status === "down")) status = "degraded";
  return {
    status,
    ready: !options.stopping && (status === "ok" || status === "degraded"),
    version: options.version,
    components,
    mends: [...new Set(all.flatMap(({ mend }) => (mend === undefined ? [] : [mend])))],
  };
}
