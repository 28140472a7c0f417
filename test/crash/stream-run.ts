import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import type { Driving } from "./stream-driver.ts";
import { type StreamVerdict, judgeStreams } from "./stream-judge.ts";
import { type Stage, TOKEN } from "./stage.ts";

const MOST_OPEN = 20;
/** The bridge takes a gateway for gone after so long; the grace after a start is not longer. */
const IDLE_MS = 5_000;
/** The bridge looks for a card without an answer for a minute, and waits up to half a minute for a DingTalk that is away. */
const DRAIN_MS = 150_000;
/** Settled by what has to come anyway; looking at every stream is no small work. */
const LOOK_MS = 500;

/** Cards that are updated as often as a test has time for. */
export const STREAM_ENV = {
  BRIDGE_QUOTA_PLAN: "professional",
  BRIDGE_REPLY_CARD_INTERVAL: "200ms",
  BRIDGE_REPLY_IDLE_TIMEOUT: "5s",
} as const;

/** The streams of a run: begun again with every gateway, judged batch by batch. */
export class StreamRun {
  readonly #stage: Stage;
  readonly #driving: Omit<Driving, "life">;
  readonly #totals: Omit<StreamVerdict, "broken"> & { broken: string[] };
  #lives = 0;
  #since = -Infinity;

  constructor(stage: Stage, options: { seed: number; conversations: number }) {
    this.#stage = stage;
    this.#driving = { ...options, url: stage.bridgeUrl, token: TOKEN, most: MOST_OPEN, idleTimeoutMs: IDLE_MS };
    this.#totals = judgeStreams(stage.streams);
  }

  /** With every start of the gateway. */
  async begin(): Promise<void> {
    this.#lives += 1;
    await this.#stage.gateway.call("stream", { ...this.#driving, life: this.#lives });
  }

  /** Everything gets its time; then what became of the streams since the last time. */
  async settle(now: number): Promise<StreamVerdict> {
    await this.#stage.gateway.call("hush");
    let lookedAt = 0;
    let verdict: StreamVerdict | undefined;
    await this.#stage.drain(DRAIN_MS, () => {
      if (performance.now() - lookedAt < LOOK_MS) return false;
      verdict = judgeStreams(this.#stage.streams, this.#since);
      lookedAt = performance.now();
      return verdict.broken.length === 0;
    });
    this.#stage.note();
    verdict = judgeStreams(this.#stage.streams, this.#since);
    this.#since = now;
    const { broken, ...counts } = verdict;
    for (const [name, count] of Object.entries(counts)) this.#totals[name as keyof typeof counts] += count;
    this.#totals.broken.push(...broken);
    return verdict;
  }

  get totals(): StreamVerdict {
    return this.#totals;
  }
}

/** What the bridge's file says of streams that should all have ended. */
export function openStreams(dataDir: string): string[] {
  return rowsOf(dataDir, "SELECT id, card, text FROM streams WHERE state = 'open'").map(
    ({ id, card, text }) => `${String(id)} is still open, card ${String(card)}: ${String(text).slice(0, 40)}`,
  );
}

/**
 * Entries that wait for a card which DingTalk does not know: its creation got no answer and its text went out as a message. The
 * bridge looks for it once more a minute later, for no good reason when DingTalk was killed; nobody waits for that here.
 */
export function searching(dataDir: string): number {
  const open = rowsOf(
    dataDir,
    "SELECT body FROM entries WHERE queue = 'outbox' AND state = 'open' AND error_code = 'card_unknown'",
  );
  return open.filter(({ body }) => (JSON.parse(String(body)) as { abandoned?: boolean }).abandoned).length;
}

function rowsOf(dataDir: string, sql: string): Record<string, unknown>[] {
  const db = new DatabaseSync(join(dataDir, "bridge.db"), { readOnly: true });
  try {
    return db.prepare(sql).all();
  } finally {
    db.close();
  }
}
