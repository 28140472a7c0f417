import type { Overrides } from "./compose-overrides.ts";
import type { ReloadReport } from "./compose-reload.ts";
import { type Parts, build } from "./compose.ts";
import type { Config } from "./config.ts";
import { BridgeError } from "./domain/errors.ts";
import type { HealthReport } from "./ops/health.ts";
import { DataDirectoryLock } from "./ops/lock.ts";

export { ConfigError, type LoadOptions, loadConfig } from "./config.ts";
export type { Config } from "./config.ts";
export { type SettingReport, explainConfig } from "./config-report.ts";
export type { ReloadReport } from "./compose-reload.ts";
export { BridgeError };
export { eraseStored } from "./compose-operator.ts";
export type { ErasureReport } from "./flows/erasure.ts";
export { storedDeadLetters } from "./flows/dead-letters-stored.ts";
export { runChecks } from "./flows/doctor-run.ts";
export type { DeadLetterView } from "./flows/views.ts";
export { storedQuota } from "./flows/quota-stored.ts";
export { type Trace, type TraceStep, storedTraces } from "./flows/trace.ts";
export { createDoctor, verifyCredentials } from "./compose-doctor.ts";
export type { Overrides } from "./compose-overrides.ts";
export { type Logger, createLogger } from "./ops/logger.ts";

/** The running bridge. */
export interface App {
  /** Throws BridgeError (`data_dir_locked`, `schema_newer`, `port_unavailable`, …); nothing is left running then. */
  start(): Promise<void>;
  /** Stops in order. Resolves true when nothing was in flight at the end, false when `signal` cut something off. */
  stop(options: { signal: AbortSignal }): Promise<boolean>;
  /**
   * Puts accounts and limits of these settings into effect and names what else has changed. A removed account's messages wait until
   * it is added again. To be called after `start`.
   */
  reload(config: Config): Promise<ReloadReport>;
  health(): HealthReport;
  /** What an end now would cut off: the part that is being stopped, if any, and attempts under way. */
  unfinished(): { part: string | undefined; underWay: { inbox: number; outbox: number } };
  /** Port of the API, once started. */
  readonly port: number | undefined;
}

/** The bridge's life: lock, build (compose.ts), start in order, stop in order, unlock. */
export function createApp(config: Config, overrides: Overrides): App {
  const { logger } = overrides;
  let lock: DataDirectoryLock | undefined;
  let parts: Parts | undefined;
  let stopping = false;

  const close = async (): Promise<void> => {
    const [opened, held] = [parts, lock];
    [parts, lock] = [undefined, undefined];
    await opened?.close();
    held?.release();
  };
  return {
    async start() {
      stopping = false;
      lock = new DataDirectoryLock(config.dataDir);
      try {
        parts = build(config, overrides, () => stopping);
        await parts.supervisor.start();
      } catch (error) {
        await close();
        throw error;
      }
    },
    async stop({ signal }) {
      stopping = true;
      await parts?.supervisor.stop({ signal });
      await close();
      logger.info({ clean: !signal.aborted }, "stopped");
      return !signal.aborted;
    },
    async reload(next) {
      if (!parts || stopping) throw new BridgeError("stopping", "the bridge does not run");
      return parts.reload(next);
    },
    health: () =>
      parts?.health() ?? { status: "starting", ready: false, version: overrides.version, components: {}, mends: [] },
    unfinished: () => ({
      part: parts?.supervisor.stopping,
      underWay: parts?.underWay() ?? { inbox: 0, outbox: 0 },
    }),
    get port() {
      return parts?.http.port;
    },
  };
}
