import type { Config } from "./config.ts";
import type { AccountConfig } from "./config-types.ts";
import { NOTICES, SEE_NEXT_MESSAGE } from "./domain/notices.ts";
import type { AccountSender } from "./flows/account.ts";
import { CardCalls } from "./flows/card-calls.ts";
import { CardContext } from "./flows/card-context.ts";
import { CardProblems } from "./flows/card-problems.ts";
import type { Indicator } from "./flows/indicator.ts";
import type { Messages } from "./flows/messages.ts";
import { filesOf } from "./flows/outbound-check.ts";
import type { Pacing } from "./flows/pacing.ts";
import type { QuotaGovernor } from "./flows/quota.ts";
import type { FilesIn } from "./flows/stream-entries.ts";
import { type ReplyTimings, Streams } from "./flows/streams.ts";
import type { Clock } from "./ops/clock.ts";
import type { DiskWatch } from "./ops/disk.ts";
import type { Logger } from "./ops/logger.ts";
import type { Metrics } from "./ops/metrics.ts";
import type { SqliteStore } from "./queue/sqlite-store.ts";

export interface StreamsWiring {
  config: Config;
  /** Undefined: not served now. */
  account: (name: string) => AccountConfig | undefined;
  accounts: () => string[];
  store: SqliteStore;
  messages: Messages;
  sender: (account: string) => AccountSender | undefined;
  pacing: Pacing;
  quota: QuotaGovernor;
  indicator: Indicator;
  disk: DiskWatch;
  publicUrl: () => string;
  onAppended: (lane: string) => void;
  hurry: (lane: string, seq: number) => void;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  timings?: Partial<ReplyTimings> | undefined;
}

/** Replies that grow, and their cards, wired. */
export function buildStreams(wiring: StreamsWiring): Streams {
  const { config, account, store, quota, indicator, disk, publicUrl } = wiring;
  const problems = new CardProblems(wiring);
  const context = new CardContext({
    ...wiring,
    calls: new CardCalls({ ...wiring, problems }),
    problems,
    // Streams of an account that is gone are ended by what holds for all.
    settings: (name) => account(name)?.reply ?? config.reply,
    plan: config.quota.plan,
    label: (name) => account(name)?.botName,
    seeNext: SEE_NEXT_MESSAGE[config.language],
    onVisible: (envelopeId) => indicator.visible(envelopeId),
    spent: (envelopeId) => indicator.calls(envelopeId),
    quota,
  });
  const filesIn: FilesIn = (account, content) => {
    const media = (id: string) => {
      const file = store.media.find(id);
      return file?.account === account ? file : undefined;
    };
    return filesOf(content, { media, publicUrl: publicUrl() });
  };
  return new Streams({
    ...wiring,
    context,
    filesIn,
    interrupted: config.notices.interrupted ? NOTICES.interrupted[config.language] : "",
    refusal: () => disk.refusal("api"),
  });
}
