import { type AccountChanges, accountChanges, enabled } from "./config-changes.ts";
import type { AccountConfig } from "./config-types.ts";
import type { OwnedSender, PerSecond } from "./flows/account.ts";
import type { AccountParts } from "./flows/status.ts";
import type { Logger } from "./ops/logger.ts";
import type { Health, Service } from "./ops/service.ts";
import { Transitions } from "./ops/transitions.ts";
import { PauseDoor } from "./queue/pause-door.ts";
import { splitLane } from "./queue/store.ts";

/** All that runs for one robot. */
export interface RunningAccount extends AccountParts {
  config: AccountConfig;
  sender: OwnedSender;
}

/** An account that messages wait for and that is not served. */
export interface PausedAccount {
  name: string;
  health: Health;
}

export interface AccountsOptions {
  accounts: readonly AccountConfig[];
  make: (config: AccountConfig) => Omit<RunningAccount, "config" | "isLate">;
  /** What of an account waits in the store. */
  open: (account: string) => { inbox: number; outbox: number };
  /** Lanes of this account have another door now. */
  onDoors: (account: string) => void;
  onAdded: (account: string) => void;
  onRemoved: (account: string) => void;
  logger: Logger;
}

/** For the pushes that a removed account still stores and acks. */
const REMOVE_MS = 10_000;

/**
 * The accounts that are served, which may change while the bridge runs. What belongs to an account that is not served stays where it
 * is: its lanes wait at a door (`account_paused`) and nothing of them is tried, so nothing of them dies of its age, until the account
 * is there again.
 */
export class Accounts implements Service {
  readonly name = "accounts";
  readonly #options: AccountsOptions;
  readonly #transitions = new Transitions();
  readonly #doors = new Map<string, PauseDoor>();
  /** Attempts that began before the change may still use them. */
  readonly #retired: OwnedSender[] = [];
  #running: ReadonlyMap<string, RunningAccount>;
  #isStarted = false;
  #cut = new AbortController();

  constructor(options: AccountsOptions) {
    this.#options = options;
    this.#running = new Map([...enabled(options.accounts)].map(([name, config]) => [name, this.#make(config)]));
  }

  #make(config: AccountConfig): RunningAccount {
    return { ...this.#options.make(config), config, isLate: this.#isStarted };
  }

  /** Those that are served, in the order of the configuration. */
  list(): RunningAccount[] {
    return [...this.#running.values()];
  }

  names(): string[] {
    return [...this.#running.keys()];
  }

  configs(): AccountConfig[] {
    return this.list().map(({ config }) => config);
  }

  find(name: string): AccountConfig | undefined {
    return this.#running.get(name)?.config;
  }

  sender(name: string): OwnedSender | undefined {
    return this.#running.get(name)?.sender;
  }

  /** Where the lanes of an account wait that is not served; undefined for all others. */
  door(lane: string): PauseDoor | undefined {
    const { account } = splitLane(lane);
    if (this.#running.has(account)) return undefined;
    const door = this.#doors.get(account) ?? new PauseDoor();
    this.#doors.set(account, door);
    return door;
  }

  paused(): PausedAccount[] {
    return [...this.#doors]
      .filter(([, { waiting }]) => waiting > 0)
      .map(([name]) => ({ name, health: this.#pause(name) }));
  }

  #pause(name: string): Health {
    const { inbox, outbox } = this.#options.open(name);
    return {
      status: "degraded",
      code: "account_paused",
      detail: `account ${name} is not configured, or disabled; waiting for it: ${inbox} from DingTalk, ${outbox} to DingTalk`,
      mend: `configure account ${name} again, or enable it, and reload (SIGHUP); what waits is kept until then`,
    };
  }

  /** For the overall health: each connection, and each account that is waited for. */
  parts(): Pick<Service, "name" | "health">[] {
    const paused = this.paused().map(({ name, health }) => ({ name: `account:${name}`, health: () => health }));
    return [...this.list().map(({ session }) => session), ...paused];
  }

  start(): Promise<void> {
    return this.#transitions.run(async () => {
      this.#isStarted = true;
      this.#cut = new AbortController();
      await Promise.all(this.list().map(({ session }) => session.start()));
    });
  }

  /** A change under way ends first; `signal` cuts that off, too. */
  async stop({ signal }: { signal: AbortSignal }): Promise<void> {
    const cut = (): void => this.#cut.abort();
    signal.addEventListener("abort", cut, { once: true });
    if (signal.aborted) cut();
    await this.#transitions.run(async () => {
      this.#isStarted = false;
      await Promise.all(this.list().map(({ session }) => session.stop({ signal })));
    });
    signal.removeEventListener("abort", cut);
  }

  health(): Health {
    return { status: this.#isStarted ? "ok" : "starting" };
  }

  /** Serves these accounts from now on. Resolves when the connections of those that are gone are closed, their acks written. */
  apply(accounts: readonly AccountConfig[]): Promise<AccountChanges> {
    return this.#transitions.run(async () => {
      const wanted = enabled(accounts);
      const changes = accountChanges(this.configs(), accounts);
      const { added, removed, replaced } = changes;
      const gone = [...removed, ...replaced].flatMap((name) => this.#running.get(name) ?? []);
      this.#running = new Map(
        this.list()
          .filter((one) => !gone.includes(one))
          .map((one) => [one.name, one]),
      );
      await Promise.all(gone.map((account) => this.#remove(account)));
      this.#running = new Map([...wanted].map(([name, config]) => [name, this.#updated(config)]));
      for (const name of [...added, ...replaced]) await this.#begin(name);
      return changes;
    });
  }

  async #remove({ name, session, sender }: RunningAccount): Promise<void> {
    const { onDoors, onRemoved, logger } = this.#options;
    this.#retired.push(sender);
    onDoors(name);
    await session.stop({ signal: AbortSignal.any([this.#cut.signal, AbortSignal.timeout(REMOVE_MS)]) });
    onRemoved(name);
    logger.info({ account: name, code: "account_paused", ...this.#options.open(name) }, "account paused");
  }

  #updated(config: AccountConfig): RunningAccount {
    const known = this.#running.get(config.name);
    if (!known) return this.#make(config);
    if (known.config.appSecret !== config.appSecret) {
      known.session.rekey(config.appSecret);
      known.sender.rekey(config.appSecret);
    }
    return { ...known, config };
  }

  async #begin(name: string): Promise<void> {
    const account = this.#running.get(name);
    if (!account) return;
    if (this.#isStarted) await account.session.start();
    // Files first: a message that waits for its own must not go ahead of them.
    this.#options.onAdded(name);
    const door = this.#doors.get(name);
    this.#doors.delete(name);
    door?.open();
    this.#options.onDoors(name);
    this.#options.logger.info({ account: name }, "account served");
  }

  resize(limits: PerSecond): void {
    for (const { sender } of this.list()) sender.resize(limits);
  }

  /** After the last attempt. */
  close(): void {
    for (const sender of [...this.#retired, ...this.list().map(({ sender }) => sender)]) sender.close();
  }
}
