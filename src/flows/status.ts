import type { StreamSession } from "../dingtalk/stream-session.ts";
import type { Handshake } from "../gateway/handshake.ts";
import type { Clock } from "../ops/clock.ts";
import type { AccountHealth } from "../ops/health.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Health } from "../ops/service.ts";
import type { Gate } from "../queue/gate.ts";
import type { QueueName, QueueStore } from "../queue/store.ts";
import type { GatewayCalls } from "./gateway-calls.ts";
import type { LagWatch } from "./lag.ts";
import type { Scope } from "./messages.ts";
import type { QuotaGovernor } from "./quota.ts";
import type { Streams } from "./streams.ts";

/** One account: its name as configured and its Stream. */
export interface AccountParts {
  name: string;
  robotCode: string;
  session: StreamSession;
  /** It came while the bridge ran: nobody waits for its first attempt. */
  isLate: boolean;
}

/** What the overall health needs of an account. */
export function accountHealth({ name, session, isLate }: AccountParts, clock: Clock): AccountHealth {
  const downSince = session.downSince();
  const settled = session.hasConnectedOrFailedOnce();
  return {
    name,
    settled: settled || isLate,
    connected: settled && downSince === undefined,
    awayMs: downSince === undefined ? 0 : clock.now() - downSince,
  };
}

/** `GET /v1/status`: the caller's accounts, and what all share. */
export function statusReport(parts: {
  scope: Scope;
  version: string;
  accounts: { list(): readonly AccountParts[]; paused(): readonly { name: string; health: Health }[] };
  store: QueueStore;
  handshake: Handshake;
  quota: QuotaGovernor;
  streams: Pick<Streams, "count">;
  lag: LagWatch;
  calls: GatewayCalls;
  /** The doors to the gateway and to DingTalk's endpoints, by account. */
  gates: { account: string | undefined; gate: Gate }[];
  clock: Clock;
}): Record<string, unknown> {
  const { scope, store, handshake, clock, lag } = parts;
  const visible = (account: string | undefined): boolean => scope.account === undefined || scope.account === account;
  const queue = (name: QueueName) => ({ ...queueReport(store, name, clock), laggingConversations: lag.lagging(name) });
  const mine = parts.accounts.list().filter(({ name }) => visible(name));
  const paused = parts.accounts.paused().filter(({ name }) => visible(name));
  return {
    version: parts.version,
    accounts: [
      ...mine.map((account) => ({
        name: account.name,
        robotCode: account.robotCode,
        state: account.session.state,
        ...account.session.health(),
        lastFrameAt: iso(account.session.lastFrameAt),
        downSince: iso(account.session.downSince()),
        openReplies: parts.streams.count(account.name),
      })),
      ...paused.map(({ name, health }) => ({ name, state: "paused", ...health })),
    ],
    queues: { inbox: queue("inbox"), outbox: queue("outbox") },
    peers: parts.gates
      .filter(({ account }) => account === undefined || visible(account))
      .map(({ gate }) => ({ name: gate.name, open: gate.isOpen })),
    quota: parts.quota.report(scope.account),
    gateway: {
      ...handshake.health(),
      plugin: handshake.plugin ?? null,
      lastCallAt: iso(parts.calls.last(scope)),
    },
  };
}

function queueReport(store: Pick<QueueStore, "counts">, queue: QueueName, clock: Clock): Record<string, number> {
  const { open, dead, oldestOpenAt } = store.counts(queue);
  return { open, deadLetters: dead, oldestMs: oldestOpenAt === undefined ? 0 : clock.now() - oldestOpenAt };
}

/** Brings the gauges of what is stored and open up to date; called when metrics are read. */
export function sampleGauges(
  metrics: Metrics,
  parts: {
    store: Pick<QueueStore, "counts" | "media">;
    accounts: readonly Pick<AccountParts, "name">[];
    streams: Pick<Streams, "count">;
    clock: Clock;
  },
): void {
  const { store, accounts, streams, clock } = parts;
  for (const queue of ["inbox", "outbox"] as const) {
    const { open, deadLetters = 0, oldestMs = 0 } = queueReport(store, queue, clock);
    metrics.open.set({ queue }, open ?? 0);
    metrics.deadLetters.set({ queue }, deadLetters);
    metrics.oldestSeconds.set({ queue }, oldestMs / 1_000);
  }
  const { files, bytes } = store.media.totals();
  metrics.mediaFiles.set(files);
  metrics.mediaBytes.set(bytes);
  // An account that is gone would leave its label behind.
  metrics.repliesOpen.reset();
  for (const { name: account } of accounts) {
    const open = streams.count(account);
    for (const shown of ["card", "buffered"] as const) metrics.repliesOpen.set({ account, shown }, open[shown]);
  }
}

function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
