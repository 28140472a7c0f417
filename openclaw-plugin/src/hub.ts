import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import type { Log } from "./bridge-http.ts";
import { Lanes } from "./compat.ts";
import { type Entry, Ledger } from "./ledger.ts";
import type { Mailbox } from "./mailbox.ts";
import { Sessions } from "./sessions.ts";
import type { MessageEnvelope } from "./types.ts";

/** An envelope on its way to a turn. */
export interface Delivery {
  envelope: MessageEnvelope;
  entry: Entry;
}

interface HostLogger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/**
 * What the HTTP route and the running accounts share, and the way to OpenClaw, which is given after loading. OpenClaw allows one route per path, so all accounts use the same one,
 * and it stays while accounts come and go; the ledger outlives a restart of an account, because its turns do too.
 */
export class Hub {
  readonly ledger = new Ledger();
  readonly sessions = new Sessions();
  readonly lanes = new Lanes();
  readonly #running = new Map<string, Mailbox<Delivery>>();
  #runtime: PluginRuntime | undefined;
  #logger: HostLogger | undefined;

  /** Writes to OpenClaw's log once it is there. */
  readonly log: Log = {
    info: (message) => this.#logger?.info(message),
    warn: (message) => this.#logger?.warn(message),
    error: (message) => this.#logger?.error(message),
  };

  attach(runtime: PluginRuntime, logger?: HostLogger): void {
    this.#runtime = runtime;
    this.#logger = logger ?? this.#logger;
  }

  get runtime(): PluginRuntime | undefined {
    return this.#runtime;
  }

  /** OpenClaw's configuration as it is now. */
  config(): OpenClawConfig {
    if (!this.#runtime) throw new Error("dingtalk: OpenClaw has not given the plugin its runtime");
    return this.#runtime.config.current() as OpenClawConfig;
  }

  mailbox(accountId: string): Mailbox<Delivery> | undefined {
    return this.#running.get(accountId);
  }

  open(accountId: string, mailbox: Mailbox<Delivery>): void {
    this.lanes.begin();
    this.#running.set(accountId, mailbox);
  }

  /** What waits in a closed mailbox goes back to the bridge, which tries again. */
  close(accountId: string, mailbox: Mailbox<Delivery>): void {
    if (this.#running.get(accountId) === mailbox) this.#running.delete(accountId);
    for (const { entry } of mailbox.close()) entry.note({ kind: "failed", reason: "the channel stopped" });
  }
}
