import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { deriveToken } from "../../src/domain/account.ts";
import { knobPresets } from "../../src/sandbox/dingtalk-knobs.ts";
import type { GatewayMode } from "../../src/sandbox/gateway-simulator.ts";
import { Daemon, freePort } from "../support/daemon.ts";
import { liftedLimits } from "../support/daemon-limits.ts";
import { type Entry, Ledger } from "./ledger.ts";
import { JournalReader, Peer } from "./peers.ts";
import { type StreamEntry, isStreamEntry } from "./stream-entries.ts";
import { StreamLedger } from "./stream-ledger.ts";

const APP = { appKey: "dingcrashtest000001", appSecret: "crash-test-secret" };
export const TOKEN = deriveToken(APP.appKey, APP.appSecret);
const PEER = new URL("peer.ts", import.meta.url);
/** Nothing new for so long means that nothing comes any more: longer than a held entry waits to be asked about. */
const QUIET_MS = 2_500;

export interface StageOptions {
  mode: GatewayMode;
  conversations: number;
  errorRate?: number;
  /** DingTalk pushes again after this. */
  redeliverMs: number;
  /** The bridge reaches the peers here instead of directly: a proxy that knows the real ports. */
  through?: (ports: { dingtalk: number; gateway: number }) => Promise<{ dingtalkUrl: string; gatewayUrl: string }>;
  env?: Record<string, string>;
  main?: string;
}

/** DingTalk, the gateway and the bridge, each a process of its own on a port that survives it, and what they saw. */
export class Stage {
  readonly ledger = new Ledger();
  readonly streams = new StreamLedger();
  readonly dataDir: string;
  readonly dingtalk: Peer;
  readonly gateway: Peer;
  readonly daemon: Daemon;
  readonly bridgeUrl: string;
  readonly #journals: JournalReader<Entry | StreamEntry>[];

  private constructor(
    parts: { dataDir: string; dingtalk: Peer; gateway: Peer; daemon: Daemon; bridgeUrl: string },
    journals: string[],
  ) {
    this.dataDir = parts.dataDir;
    this.dingtalk = parts.dingtalk;
    this.gateway = parts.gateway;
    this.daemon = parts.daemon;
    this.bridgeUrl = parts.bridgeUrl;
    this.#journals = journals.map((file) => new JournalReader<Entry | StreamEntry>(file));
  }

  /** Both peers run; the bridge does not yet. */
  static async set(options: StageOptions): Promise<Stage> {
    const home = mkdtempSync(join(tmpdir(), "bridge-stage-"));
    const [dingtalkPort, gatewayPort, bridgePort] = [await freePort(), await freePort(), await freePort()];
    const journals = { dingtalk: join(home, "dingtalk.jsonl"), gateway: join(home, "gateway.jsonl") };
    const bridgeUrl = `http://127.0.0.1:${bridgePort}`;
    const direct = {
      dingtalkUrl: `http://127.0.0.1:${dingtalkPort}`,
      gatewayUrl: `http://127.0.0.1:${gatewayPort}`,
    };
    const { dingtalkUrl, gatewayUrl } =
      (await options.through?.({ dingtalk: dingtalkPort, gateway: gatewayPort })) ?? direct;
    const lanes = Array.from({ length: options.conversations }, (_, n) => n);
    const dingtalk = new Peer(PEER, ["dingtalk", journals.dingtalk], {
      apps: [APP],
      port: dingtalkPort,
      publicUrl: dingtalkUrl,
      // Known from the start, because a DingTalk that was started anew has forgotten whom it met.
      users: lanes.map((n) => ({ staffId: `staff${String(1 + n).padStart(3, "0")}`, name: `员工${n}` })),
      groups: lanes.map((n) => ({ conversationId: `cidgroup${n}==`, title: `组${n}` })),
      knobs: { ...knobPresets.unlimited, redeliverAfterMs: options.redeliverMs, redeliveries: 5 },
    });
    const gateway = new Peer(PEER, ["gateway", journals.gateway], {
      accounts: [{ id: "main", appKey: APP.appKey, token: TOKEN }],
      port: gatewayPort,
      bridgeUrl,
      mode: options.mode,
      errorRate: options.errorRate ?? 0,
    });
    const daemon = new Daemon(
      {
        DINGTALK_APP_KEY: APP.appKey,
        DINGTALK_APP_SECRET: APP.appSecret,
        DINGTALK_API_BASE: dingtalkUrl,
        DINGTALK_OAPI_BASE: dingtalkUrl,
        BRIDGE_GATEWAY_URL: gatewayUrl,
        BRIDGE_PORT: String(bridgePort),
        BRIDGE_DATA_DIR: join(home, "data"),
        ...liftedLimits(),
        ...options.env,
      },
      options.main === undefined ? {} : { main: options.main },
    );
    await Promise.all([dingtalk.start(), gateway.start()]);
    return new Stage({ dataDir: join(home, "data"), dingtalk, gateway, daemon, bridgeUrl }, Object.values(journals));
  }

  /** Starts the bridge; resolves when its Stream is open. */
  async connect(): Promise<void> {
    const connected = this.dingtalk.waitFor("connected", 30_000);
    this.daemon.start();
    const died = this.daemon.ended().then(() => {
      throw new Error(`the bridge ended by itself:\n${this.daemon.errors.slice(-10).join("\n")}`);
    });
    // Whichever comes second is of no interest: it may end later, when it is told to.
    for (const one of [connected, died]) one.catch(() => {});
    await Promise.race([connected, died]);
  }

  /** Takes what the peers have noted since the last call into the ledger. */
  note(): void {
    // What one party did comes of what another did before: the last journal is read first, and counts last.
    const read = this.#journals.toReversed().map((journal) => journal.read());
    for (const entry of read.toReversed().flat()) {
      if (isStreamEntry(entry)) this.streams.add(entry);
      else this.ledger.add(entry);
    }
  }

  /** Waits until everything accepted has arrived, `isOver`, and nothing moves any more, at most `ms`. */
  async drain(ms: number, isOver = (): boolean => true): Promise<void> {
    const until = performance.now() + ms;
    let quietSince = performance.now();
    for (let seen = -1; performance.now() < until; await delay(100)) {
      this.note();
      const entries = this.ledger.entries + this.streams.entries;
      if (entries !== seen) quietSince = performance.now();
      seen = entries;
      if (this.ledger.settled && performance.now() - quietSince > QUIET_MS && isOver()) return;
    }
  }

  /** `GET` of the bridge's own API. */
  async api(path: string): Promise<Response> {
    return fetch(new URL(path, this.bridgeUrl), {
      headers: { authorization: `Bearer ${TOKEN}`, connection: "close" },
      signal: AbortSignal.timeout(5_000),
    });
  }

  /**
   * What is wrong with the bridge when nothing is left to do: entries that stay, dead letters, the file, its exit. So many
   * entries of the outbox may stay.
   */
  async end(mayStay = 0): Promise<string[]> {
    const { queues } = (await (await this.api("/v1/status")).json()) as {
      queues: Record<string, { open: number; deadLetters: number }>;
    };
    const problems = Object.entries(queues).flatMap(([queue, { open, deadLetters }]) => [
      ...(open > (queue === "outbox" ? mayStay : 0) ? [`${open} entries stay in the ${queue}`] : []),
      ...(deadLetters > 0 ? [`${deadLetters} dead letters in the ${queue}`] : []),
    ]);
    const status = await this.daemon.stop();
    if (status !== 0) problems.push(`the bridge ended with status ${status}`);
    return [...problems, ...deadLetters(this.dataDir), ...integrityProblems(this.dataDir)];
  }

  /** Ends every process and deletes all files, unless somebody wants to look at them. */
  async clear({ isKept = false } = {}): Promise<void> {
    await Promise.all([this.daemon.kill(), this.dingtalk.kill(), this.gateway.kill()]);
    for (const journal of this.#journals) journal.close();
    const home = join(this.dataDir, "..");
    if (isKept) console.error(`kept: ${home}`);
    else rmSync(home, { recursive: true, force: true });
  }
}

/** The first dead letters of a bridge that does not run, with what it says of them. */
function deadLetters(dataDir: string): string[] {
  const db = new DatabaseSync(join(dataDir, "bridge.db"), { readOnly: true });
  try {
    const rows = db
      .prepare("SELECT queue, id, error_code, error_detail, attempts FROM entries WHERE state = 'dead' LIMIT 5")
      .all();
    return rows.map((row) => `dead: ${JSON.stringify(row)}`);
  } finally {
    db.close();
  }
}

/** What SQLite says about the file of a bridge that does not run. */
export function integrityProblems(dataDir: string): string[] {
  const db = new DatabaseSync(join(dataDir, "bridge.db"));
  try {
    const found = db
      .prepare("PRAGMA integrity_check")
      .all()
      .map((row) => String(row["integrity_check"]));
    return found.length === 1 && found[0] === "ok" ? [] : found.map((problem) => `integrity_check: ${problem}`);
  } finally {
    db.close();
  }
}
