import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";

const PREFIX = "dingtalk_bridge_";
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10, 30];

/** Every metric of the bridge, each declared once, in a registry of its own (no global state). */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[] = []) =>
    new Counter<T>({ name: PREFIX + name, help, labelNames, registers });
  const gauge = <T extends string>(name: string, help: string, labelNames: readonly T[] = []) =>
    new Gauge<T>({ name: PREFIX + name, help, labelNames, registers });
  const histogram = <T extends string>(name: string, help: string, labelNames: readonly T[] = []) =>
    new Histogram<T>({ name: PREFIX + name, help, labelNames, buckets: SECONDS, registers });

  return {
    registry,
    /** Samples of the process itself (memory, event loop); owns an observer, so only the daemon asks for it. */
    collectProcess: () => collectDefaultMetrics({ register: registry }),
    streamConnected: gauge("stream_connected", "1 while the account's Stream connection is up", ["account"]),
    streamConnects: counter("stream_connects_total", "Attempts to connect, by result", ["account", "result"]),
    streamCloses: counter("stream_closes_total", "Connections that ended, by reason", ["account", "reason"]),
    streamFrames: counter("stream_frames_total", "Frames received, by type", ["account", "type"]),
    streamInvalid: counter("stream_frames_invalid_total", "Frames that could not be used, by reason", [
      "account",
      "reason",
    ]),
    streamGaps: counter("stream_gaps_total", "Times without any connection (messages of a gap are not sent later)", [
      "account",
    ]),
    streamGapSeconds: counter("stream_gap_seconds_total", "Seconds without any connection", ["account"]),
    ackSeconds: histogram("ack_seconds", "From the arrival of a frame to its ack", ["account"]),
    acksFailed: counter("acks_failed_total", "Acks that could not be written", ["account", "reason"]),
    inboxAccepted: counter("inbox_accepted_total", "Messages committed to the inbox", ["account"]),
    inboxDuplicates: counter("inbox_duplicates_total", "Pushes recognised as repeated", ["account"]),
    mediaFetches: counter(
      "media_fetches_total",
      "Files of messages, by what came of fetching them: `stored` or an error code",
      ["account", "result"],
    ),
    mediaFiles: gauge("media_files", "Stored files, received, uploaded and fetched"),
    mediaBytes: gauge("media_bytes", "Bytes of the stored files"),
    gatewaySeconds: histogram("gateway_seconds", "Duration of one POST of an envelope, by outcome", ["outcome"]),
    gatewayReady: gauge("gateway_ready", "1 while the handshake with the channel plugin is right"),
    apiMessages: counter("api_messages_total", "Messages taken from the gateway, by content type", ["account", "type"]),
    repliesOpen: gauge(
      "replies_open",
      "Replies that grow and are not finished, by how they show: `card`, or `buffered` until a message at the end",
      ["account", "shown"],
    ),
    repliesEnded: counter(
      "replies_ended_total",
      "Replies that grew, by who ended them (`gateway`, `idle`, `restart`) and how they show (`card`, `message`, `nothing`)",
      ["account", "by", "shown"],
    ),
    firstTextSeconds: histogram("first_text_seconds", "From the first text of a reply to its card", ["account"]),
    cardUpdates: counter(
      "card_updates_total",
      "Updates of live cards, first and last text apart, by what came of them: `delivered`, `not_sent` when something " +
        "overtook it or cards are paused, or an error code",
      ["account", "result"],
    ),
    sends: counter("sends_total", "Requests to DingTalk with the account's credentials, by endpoint and result code", [
      "account",
      "endpoint",
      "code",
    ]),
    sendSeconds: histogram("send_seconds", "Duration of one request to DingTalk, by endpoint", ["endpoint"]),
    limiterWaitSeconds: histogram("limiter_wait_seconds", "Time a call of DingTalk waited for its slot, by API", [
      "account",
      "api",
    ]),
    uncertain: counter("uncertain_total", "Attempts whose result is not known", ["queue"]),
    settled: counter("settled_total", "Entries settled, by queue and state", ["queue", "state"]),
    open: gauge("open_entries", "Entries not settled yet", ["queue"]),
    deadLetters: gauge("dead_letters", "Dead letters in the store", ["queue"]),
    laggingLanes: gauge(
      "lagging_lanes",
      "Conversations whose first entry has waited more than a minute (at most 1,000)",
      ["queue"],
    ),
    oldestSeconds: gauge("oldest_entry_seconds", "Age of the oldest entry not settled", ["queue"]),
    quotaUsed: gauge("quota_used", "Use of a month's budget as counted here: the real use is at least this", [
      "organisation",
      "budget",
    ]),
    quotaLimit: gauge("quota_limit", "A month's budget by quota.plan", ["organisation", "budget"]),
    quotaProjected: gauge("quota_projected", "Use at the end of the month if it goes on like this", [
      "organisation",
      "budget",
    ]),
    quotaClosed: gauge("quota_closed", "1 while DingTalk refuses because the month's budget is used up", [
      "organisation",
      "budget",
    ]),
    quotaLadder: gauge(
      "quota_ladder",
      "What live cards may still cost: 0 all, 1 fewer updates, 2 no new cards, 3 no thinking reaction either",
      ["organisation"],
    ),
    diskFree: gauge("data_dir_free_bytes", "Free space on the disk of the data directory"),
    clockSteps: counter("clock_steps_total", "Times the wall clock was set by more than five seconds"),
    commitSeconds: histogram("store_commit_seconds", "Duration of one group commit"),
    commitRows: counter("store_commit_operations_total", "Operations committed (divide by commits for the group size)"),
  };
}

export type Metrics = ReturnType<typeof createMetrics>;
