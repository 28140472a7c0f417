import type { StreamSession } from "../dingtalk/stream-session.ts";
import type { Handshake } from "../gateway/handshake.ts";
import type { Clock } from "../ops/clock.ts";
import type { AccountHealth } from "../ops/health.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { QueueName, QueueStore } from "../queue/store.ts";
import type { Scope } from "./messages.ts";

/** One account: its name as configured and its Stream. */
export interface AccountParts {
  name: string;
  robotCode: string;
  session: StreamSession;
}

/** What the overall health needs of an account. */
export function accountHealth({ name, session }: AccountParts, clock: Clock): AccountHealth {
  const downSince = session.downSince();
  const settled = session.hasConnectedOrFailedOnce();
  return {
    name,
    settled,
    connected: settled && downSince === undefined,
    awayMs: downSince === undefined ? 0 : clock.now() - downSince,
  };
}

/** `GET /v1/status`: the caller's accounts, and what all share. */
export function statusReport(parts: {
  scope: Scope;
  version: string;
  accounts: readonly AccountParts[];
  store: QueueStore;
  handshake: Handshake;
  clock: Clock;
}): Record<string, unknown> {
  const { scope, store, handshake, clock } = parts;
  const mine = parts.accounts.filter(({ name }) => scope.account === undefined || name === scope.account);
  return {
    version: parts.version,
    accounts: mine.map((account) => ({
      name: account.name,
      robotCode: account.robotCode,
      state: account.session.state,
      ...account.session.health(),
      lastFrameAt: iso(account.session.lastFrameAt),
      downSince: iso(account.session.downSince()),
    })),
    queues: { inbox: queueReport(store, "inbox", clock), outbox: queueReport(store, "outbox", clock) },
    gateway: { ...handshake.health(), plugin: handshake.plugin ?? null },
  };
}

function queueReport(store: QueueStore, queue: QueueName, clock: Clock): Record<string, number> {
  const { open, dead, oldestOpenAt } = store.counts(queue);
  return { open, deadLetters: dead, oldestMs: oldestOpenAt === undefined ? 0 : clock.now() - oldestOpenAt };
}

/** Brings the gauges of the queues up to date; called when metrics are read. */
export function sampleQueues(metrics: Metrics, store: QueueStore, clock: Clock): void {
  for (const queue of ["inbox", "outbox"] as const) {
    const { open, deadLetters = 0, oldestMs = 0 } = queueReport(store, queue, clock);
    metrics.open.set({ queue }, open ?? 0);
    metrics.deadLetters.set({ queue }, deadLetters);
    metrics.oldestSeconds.set({ queue }, oldestMs / 1_000);
  }
}

function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
