import { join } from "node:path";
import type { Config } from "./config.ts";
import type { MediaApi } from "./dingtalk/media-api.ts";
import { MediaFetcher, type MediaFetchTimings } from "./flows/media-fetcher.ts";
import { MediaExpiry } from "./flows/media-expiry.ts";
import { MediaFiles } from "./flows/media-files.ts";
import { type GuardedFetch, createGuardedFetch } from "./flows/media-guard.ts";
import { Media } from "./flows/media.ts";
import type { QuotaGovernor } from "./flows/quota.ts";
import type { Clock } from "./ops/clock.ts";
import type { DiskWatch } from "./ops/disk.ts";
import type { Logger } from "./ops/logger.ts";
import type { Metrics } from "./ops/metrics.ts";
import type { Service } from "./ops/service.ts";
import { WindowLimiter } from "./queue/limiter.ts";
import type { SqliteStore } from "./queue/sqlite-store.ts";

/** Files fetched at a time, for each account. */
const FETCHES_PER_ACCOUNT = 8;
const MB = 1_024 * 1_024;

export interface MediaWiring {
  config: Config;
  /** Names of those that are served now. */
  accounts: () => string[];
  store: SqliteStore;
  disk: DiskWatch;
  quota: QuotaGovernor;
  /** Undefined: no such account. */
  api: (account: string) => Pick<MediaApi, "downloadUrl"> | undefined;
  /** To DingTalk. */
  dispatcher: ConstructorParameters<typeof MediaApi>[0]["dispatcher"];
  userAgent: string;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  /** All files of this inbox entry are there, or given up. */
  onReady: (lane: string, seq: number) => void;
  fetchTimings?: Partial<MediaFetchTimings> | undefined;
}

/** The parts that files go through, wired. */
export interface MediaParts {
  files: MediaFiles;
  /** For the URLs that messages name: only public addresses, and the gateway's own origin. */
  fetch: GuardedFetch;
  maxBytes: number;
  fetcher: MediaFetcher;
  /** For the API. */
  uploads: Media;
  /** To be started in this order, once the disk is watched and before anything brings files. */
  services: Service[];
  /** `limits.apiPerSecond` is another now. */
  resize(apiPerSecond: number): void;
  close(): Promise<void>;
}

export function buildMedia(wiring: MediaWiring): MediaParts {
  const { config, store, disk, quota, userAgent, clock, logger } = wiring;
  const refusal = () => disk.refusal("media");
  const files = new MediaFiles({ directory: join(config.dataDir, "media"), refusal, logger });
  const proxy = config.proxy.https === undefined ? {} : { dispatcher: wiring.dispatcher };
  // DingTalk names the URL of what people sent: by itself on public addresses, or where the configured bases are.
  const fromDingtalk = createGuardedFetch({
    allowOrigins: () => [config.dingtalk.apiBase, config.dingtalk.oapiBase],
    userAgent,
    ...proxy,
    // A machine behind a proxy need not be able to resolve outside names.
    proxyMayResolve: true,
  });
  const fetch = createGuardedFetch({ allowOrigins: () => [config.gateway.url], userAgent, ...proxy });
  const limiters = new Map<string, WindowLimiter>();
  let cap = config.limits.apiPerSecond;
  const limiterOf = (name: string): WindowLimiter => {
    const limiter = limiters.get(name) ?? new WindowLimiter({ cap, windowMs: 1_000 });
    limiters.set(name, limiter);
    return limiter;
  };
  const downloads = (name: string): Pick<MediaApi, "downloadUrl"> | undefined => {
    const api = wiring.api(name);
    if (!api) return undefined;
    const limiter = limiterOf(name);
    return {
      downloadUrl: (code, signal) => {
        const waited = wiring.metrics.limiterWaitSeconds.startTimer({ account: name, api: "download" });
        return limiter.run(async () => {
          waited();
          const answer = await api.downloadUrl(code, signal);
          quota.observe(name, "media_download", answer.kind === "done" ? { kind: "delivered" } : answer);
          return answer;
        });
      },
    };
  };
  const fetcher = new MediaFetcher({
    store,
    files,
    api: downloads,
    fetch: fromDingtalk,
    maxBytes: config.media.maxMb * MB,
    perAccount: FETCHES_PER_ACCOUNT,
    onReady: wiring.onReady,
    refusal,
    clock,
    logger,
    metrics: wiring.metrics,
    ...(wiring.fetchTimings && { timings: wiring.fetchTimings }),
  });
  const expiry = new MediaExpiry({
    store: store.media,
    files,
    keepMs: config.retention.mediaMs,
    maxTotalBytes: config.media.maxTotalMb * MB,
    clock,
    logger,
  });
  return {
    files,
    fetch,
    maxBytes: config.media.maxMb * MB,
    fetcher,
    // The sweep at the start of the expiry takes a file without a row for a leftover: it comes first.
    services: [expiry, fetcher],
    uploads: new Media({
      store: store.media,
      files,
      accounts: wiring.accounts,
      maxBytes: config.media.maxMb * MB,
      clock,
      logger,
    }),
    resize(apiPerSecond) {
      cap = apiPerSecond;
      for (const limiter of limiters.values()) limiter.resize(cap);
    },
    async close() {
      for (const limiter of limiters.values()) limiter.close();
      await Promise.all([fromDingtalk.close(), fetch.close()]);
    },
  };
}

/** How the gateway reaches the bridge, for links to files. An address that means all is none that can be called. */
export function publicUrlOf({ host, publicUrl }: Config["server"], port: number): string {
  if (publicUrl !== undefined) return publicUrl.replace(/\/+$/, "");
  if (host === "0.0.0.0" || host === "::") return `http://127.0.0.1:${port}`;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
