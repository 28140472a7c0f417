import { setTimeout as sleep } from "node:timers/promises";
import type { ChannelPlugin } from "openclaw/plugin-sdk/channel-core";
import { type Account, isConfigured } from "./accounts.ts";
import { type Log, type Traffic, shownUrl } from "./bridge-http.ts";
import { type BridgeReport, asReport, reportOf, sentence } from "./probe.ts";

type StatusAdapter = NonNullable<ChannelPlugin<Account>["status"]>;
type BuildSnapshot = NonNullable<StatusAdapter["buildAccountSnapshot"]>;
export type Snapshot = Awaited<ReturnType<BuildSnapshot>>;

export interface WatchTimings {
  /** Between two looks at the bridge while all is right. Milliseconds, as the others. */
  rightMs: number;
  wrongMs: number;
  /** While the bridge is still connecting to DingTalk. */
  startingMs: number;
  /** A bridge that did not find this gateway before it started needs so long to look again. */
  gatewayGraceMs: number;
  /** Between two looks that traffic asks for. */
  gapMs: number;
}

const TIMINGS: WatchTimings = {
  rightMs: 60_000,
  wrongMs: 30_000,
  startingMs: 2_000,
  gatewayGraceMs: 60_000,
  gapMs: 2_000,
};

export interface WatchOptions {
  account: Account;
  /** Rejects only when `signal` fires. */
  probe: () => Promise<BridgeReport>;
  setStatus: (next: Snapshot) => void;
  log: Log;
  /** Ends the watch. */
  signal: AbortSignal;
  timings?: WatchTimings;
}

/**
 * Keeps a running account's status true: looks at the bridge now and then, and at once when traffic says that something has changed. One
 * line of log at the start and one for every change.
 */
export class BridgeWatch implements Traffic {
  readonly #options: WatchOptions;
  readonly #timings: WatchTimings;
  readonly #startedAt = Date.now();
  #report: BridgeReport | undefined;
  #checking: Promise<BridgeReport> | undefined;
  #wake: AbortController = new AbortController();
  #checkedAt = 0;
  #wait: number;
  #times: Pick<Snapshot, "lastInboundAt" | "lastOutboundAt" | "lastConnectedAt" | "lastDisconnect"> = {};

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#timings = options.timings ?? TIMINGS;
    this.#wait = this.#timings.wrongMs;
  }

  /** Until the signal fires. Never rejects. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      await this.check().catch(() => undefined);
      this.#wake = new AbortController();
      await sleep(this.#wait, undefined, { signal: AbortSignal.any([signal, this.#wake.signal]) }).catch(
        () => undefined,
      );
    }
  }

  /** Looks now; several who ask at once share one look. Rejects when the watch has ended. */
  async check(): Promise<BridgeReport> {
    this.#checking ??= this.#look().finally(() => {
      this.#checking = undefined;
    });
    return await this.#checking;
  }

  /** The bridge has brought something. */
  received(): void {
    this.#times.lastInboundAt = Date.now();
    if (this.#report?.ok === true) this.#publish(this.#report);
    else this.#lookSoon();
  }

  sent(): void {
    this.#times.lastOutboundAt = Date.now();
    if (this.#report?.ok === true) this.#publish(this.#report);
    else this.#lookSoon();
  }

  failed(): void {
    this.#lookSoon();
  }

  #lookSoon(): void {
    if (Date.now() - this.#checkedAt >= this.#timings.gapMs) this.#wake.abort();
  }

  async #look(): Promise<BridgeReport> {
    const { probe, signal } = this.#options;
    this.#checkedAt = Date.now();
    const seen = await probe();
    const { rightMs, wrongMs, startingMs, gatewayGraceMs } = this.#timings;
    const isNew = Date.now() - this.#startedAt < gatewayGraceMs;
    const report = isNew ? withoutGateway(seen) : seen;
    const isStarting = seen.problems.some(({ code }) => code === "starting");
    this.#wait = isStarting ? startingMs : seen.ok ? rightMs : wrongMs;
    signal.throwIfAborted();
    this.#tell(report);
    this.#report = report;
    this.#publish(report);
    return report;
  }

  #tell(report: BridgeReport): void {
    const { account, log } = this.#options;
    const before = this.#report;
    if (before && nameOf(before) === nameOf(report)) return;
    const text = before
      ? `is now ${inWords(report)}; the bridge is at ${shownUrl(account)}`
      : `bridge at ${shownUrl(account)}${report.version === undefined ? "" : `, version ${report.version}`}: ${inWords(report)}`;
    log[report.ok ? "info" : "warn"](`dingtalk: account ${account.accountId}: ${text}`);
    const at = Date.now();
    if (report.ok) this.#times.lastConnectedAt = at;
  }

  #publish(report: BridgeReport): void {
    const { account, setStatus, signal } = this.#options;
    if (signal.aborted) return;
    if (!report.ok) this.#times.lastDisconnect = { at: Date.now(), error: report.error ?? report.state };
    const next = {
      ...snapshotOf(account),
      running: true,
      lifecycle: "ready",
      // Never false: OpenClaw would restart the channel and call the whole gateway unready, and neither brings a bridge back.
      connected: report.ok ? true : undefined,
      lastError: report.error ?? null,
      probe: report,
      lastProbeAt: Date.now(),
      ...this.#times,
    };
    setStatus(next as Snapshot);
  }
}

/** An account as OpenClaw shows it, from its configuration alone. */
export function snapshotOf(account: Account): Snapshot {
  return {
    accountId: account.accountId,
    enabled: account.enabled,
    configured: isConfigured(account),
    tokenStatus: isConfigured(account) ? "available" : "missing",
    dmPolicy: account.dmPolicy,
    allowFrom: account.allowFrom,
    baseUrl: shownUrl(account),
    ...(account.name !== undefined && { name: account.name }),
  };
}

/**
 * An account for those who only look at it. OpenClaw before 2026.9 builds the status of this and not of the account itself, so it holds
 * all of that but its secrets.
 */
export function inspected(account: Account): Account {
  return { ...snapshotOf(account), ...account, appSecret: "", tokens: account.tokens.map(() => "not shown") };
}

/** The same with how it runs and what the last look at the bridge found. */
export function buildAccountSnapshot({ account, runtime, probe }: Parameters<BuildSnapshot>[0]): Snapshot {
  const report = asReport(probe) ?? asReport(runtime?.probe);
  return {
    ...runtime,
    ...snapshotOf(account),
    running: runtime?.running ?? false,
    ...(report && shownReport(report, runtime)),
  };
}

function shownReport(report: BridgeReport, runtime: Snapshot | undefined): Partial<Snapshot> {
  const { state, ok } = report;
  const lastError = report.error ?? null;
  // OpenClaw adds "restart the channel" to a disconnect that it takes for a stuck one.
  const lastDisconnect = ok ? (runtime?.lastDisconnect ?? null) : { at: Date.now(), error: report.error ?? state };
  return { connected: ok, lastError, lastDisconnect, probe: report, ...(!ok && { healthState: state }) };
}

/** The bridge's view of the gateway is older than the gateway. */
function withoutGateway(report: BridgeReport): BridgeReport {
  const problems = report.problems.filter(({ code }) => code !== "gateway");
  const state = problems.length === 0 ? "connected" : report.state;
  return problems.length === report.problems.length ? report : reportOf(state, problems, report.version);
}

const inWords = ({ ok, state, problems }: BridgeReport): string =>
  ok ? state : `${state}: ${problems.map(sentence).join("; ")}`;

const nameOf = ({ state, problems }: BridgeReport): string => [state, ...problems.map(({ code }) => code)].join();
