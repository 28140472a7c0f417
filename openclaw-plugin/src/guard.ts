import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { ChannelPlugin, OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import { type Account, type Environment, resolveAccount } from "./accounts.ts";
import { readEntry } from "./allowlist.ts";
import { sendMessage } from "./bridge-client.ts";
import type { Bridge, Log } from "./bridge-http.ts";
import { GroupNotes } from "./group-notes.ts";
import { settingsOf } from "./groups.ts";
import type { Hub } from "./hub.ts";
import { approvedText, pairingOf } from "./pairing.ts";
import { type PairingRequest, PairingWatch } from "./pairing-watch.ts";
import { securityOf } from "./security.ts";
import { ISOLATE, SHARED_SESSION, type SessionRoute, SharedSessions } from "./shared-session.ts";

export interface GuardOptions {
  hub: Hub;
  env: Environment;
  userAgent: string;
  log: Log;
}

/** OpenClaw hands only fields that it knows on to those who ask for the status. */
const SHARED = "several people in one session";

/** The part of an account's status that `statusIssues` reads. */
export interface SharingStatus {
  accountId: string;
  audienceType: string;
}

type Notify = NonNullable<NonNullable<ChannelPlugin["pairing"]>["notifyApproval"]>;
type Groups = NonNullable<ChannelPlugin["groups"]>;
type StatusIssues = NonNullable<NonNullable<ChannelPlugin["status"]>["collectStatusIssues"]>;

/** Who may use the robot: what outlives an account's restart, and the parts of the channel that OpenClaw asks about it. */
export class Guard {
  readonly watch: PairingWatch;
  readonly sessions: SharedSessions;
  readonly notes: GroupNotes;
  readonly security: ReturnType<typeof securityOf>;
  readonly #options: GuardOptions;
  /** Of the accounts that run: a session is shared by all that lead to it. */
  readonly #setStatus = new Map<string, (status: SharingStatus) => void>();

  constructor(options: GuardOptions) {
    const { hub, env, log } = options;
    this.#options = options;
    this.watch = new PairingWatch({ file: () => pairingFile(hub), warn: (message) => log.warn(message) });
    this.sessions = new SharedSessions(log);
    this.notes = new GroupNotes(log);
    this.security = securityOf({ env, runtime: () => hub.runtime });
  }

  /** Entries as they are compared with ids; those that mean no person are left out. */
  readonly formatAllowFrom = ({ allowFrom }: { allowFrom: readonly (string | number)[] }): string[] =>
    allowFrom
      .map((entry) => readEntry(String(entry)))
      .filter((entry) => entry?.kind === "sender")
      .map((entry) => entry?.id ?? "");

  readonly resolveRequireMention: NonNullable<Groups["resolveRequireMention"]> = ({ cfg, accountId, groupId }) =>
    settingsOf(resolveAccount(cfg, accountId, this.#options.env).groups, groupId ?? "").requireMention ?? true;

  /** What OpenClaw calls when it tells a person about an approval by itself. */
  readonly notifyApproval: Notify = async ({ cfg, id, accountId, meta }) => {
    const account = resolveAccount(cfg, accountId, this.#options.env);
    const waiting = await this.watch.find(account.accountId, id);
    const request = waiting?.request ?? meta?.["request"] ?? randomUUID();
    await this.#confirm(this.#bridge(account), { id, to: waiting?.to ?? `user:${id}`, request });
    await this.watch.confirmed(account.accountId, id);
  };

  /** An account runs, and has its status set until it ends. */
  started(accountId: string, setStatus: (status: SharingStatus) => void): void {
    this.#setStatus.set(accountId, setStatus);
    setStatus(this.#status(accountId));
  }

  ended(accountId: string): void {
    this.#setStatus.delete(accountId);
  }

  /** A direct message was let in. */
  admitted(route: SessionRoute, senderId: string): void {
    if (!this.sessions.admitted(route, senderId)) return;
    for (const [accountId, setStatus] of this.#setStatus) setStatus(this.#status(accountId));
  }

  #status(accountId: string): SharingStatus {
    return { accountId, audienceType: this.sessions.isShared ? SHARED : "" };
  }

  readonly statusIssues: StatusIssues = (accounts) =>
    accounts
      .filter(({ audienceType }) => audienceType === SHARED)
      .map(({ accountId }) => ({
        channel: "dingtalk",
        accountId,
        kind: "config",
        message: SHARED_SESSION,
        fix: ISOLATE,
      }));

  /** Confirms approvals until the signal fires; never rejects. */
  async watchApprovals(config: () => OpenClawConfig, accountId: string, signal: AbortSignal): Promise<void> {
    const { hub, env } = this.#options;
    const account = (): Account => resolveAccount(config(), accountId, env);
    await this.watch.run({
      accountId,
      signal,
      readApproved: async () => (hub.runtime ? await pairingOf(hub.runtime, account()).readAllowFromStore() : []),
      confirm: (request) => this.#confirm(this.#bridge(account(), signal), request),
    });
  }

  /** The key names the request: whoever confirms it, the person reads it once. */
  async #confirm(bridge: Bridge, { id, to, request }: Pick<PairingRequest, "id" | "to" | "request">): Promise<void> {
    const content = { type: "text", text: approvedText(bridge.account) } as const;
    const key = `pairing-approved/${bridge.account.accountId}/${id}/${request}`;
    await sendMessage(bridge, { message: { to, content }, key });
  }

  #bridge(account: Account, signal?: AbortSignal): Bridge {
    const { userAgent, log } = this.#options;
    return { account, userAgent, log, signal };
  }
}

function pairingFile({ runtime }: Hub): string | undefined {
  return runtime && join(runtime.state.resolveStateDir(), "dingtalk-bridge", "pairing.json");
}
