import type { StreamTimings } from "./dingtalk/stream-timings.ts";
import type { Backoff } from "./domain/backoff.ts";
import type { Alarm } from "./flows/indicator.ts";
import type { MediaFetchTimings } from "./flows/media-fetcher.ts";
import type { ReplyTimings } from "./flows/streams.ts";
import type { Clock } from "./ops/clock.ts";
import type { DiskWatchOptions } from "./ops/disk.ts";
import type { Logger } from "./ops/logger.ts";

/** What tests and the sandbox may change besides the configuration. */
export interface Overrides {
  logger: Logger;
  version: string;
  clock?: Clock;
  streamTimings?: Partial<StreamTimings>;
  gatewayTimings?: { wrongMs: number; rightMs: number };
  /** Time between probes while the gateway is away. */
  gatewayCooldown?: Backoff;
  insideContainer?: boolean;
  /** Memory, processor and event loop in the metrics too: of a process that is the bridge alone. */
  processMetrics?: boolean;
  /** How often lagging conversations are looked for. */
  lagEveryMs?: number;
  /** How long an account may be connected without any message ever, and how often that is looked for. */
  silence?: { afterMs?: number; everyMs?: number };
  /** How often it is looked for what operators have to know. */
  alertsEveryMs?: number;
  mediaTimings?: Partial<MediaFetchTimings>;
  /** Of replies that grow. */
  replyTimings?: Partial<ReplyTimings>;
  /** What the thinking indicator waits by. */
  indicatorAlarm?: Alarm;
  /** How often disk and clock are looked at, and what is found there. */
  watch?: Pick<DiskWatchOptions, "everyMs" | "freeBytes">;
}
