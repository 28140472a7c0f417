import { coerceError } from "../domain/errors.ts";
import type { StreamSession } from "../dingtalk/stream-session.ts";
import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health, Service } from "../ops/service.ts";
import type { QueueStore } from "../queue/store.ts";

/** Connected for so long without one message ever: perhaps nobody has written, perhaps nothing can come. */
const AFTER_MS = 10 * 60_000;
const EVERY_MS = 10_000;

/** What to look at, in the words of DingTalk's console. */
export const SILENCE_MEND =
  "write to the robot. If that does not show in the log: open-dev.dingtalk.com → the app: 应用能力 → 机器人: 消息接收模式 is Stream 模式; 版本管理与发布: a version with the robot is published, and its 应用可用范围 includes you. In groups @ the robot. To check the rest: dingtalk-bridge doctor";

export interface SilenceOptions {
  accounts: () => readonly { name: string; session: Pick<StreamSession, "hasConnectedOrFailedOnce" | "downSince"> }[];
  store: Pick<QueueStore, "knowsConversations">;
  clock: Clock;
  logger: Logger;
  afterMs?: number | undefined;
  everyMs?: number | undefined;
}

/**
 * Notices an account that is connected and has never had a message, in this life or an earlier one. It may be all right, so it is a
 * remark and no fault.
 */
export class SilenceWatch implements Service {
  readonly name = "silence";
  readonly #options: SilenceOptions;
  readonly #heard = new Set<string>();
  /** Monotonic time of the first look that found it connected. */
  readonly #connectedAt = new Map<string, number>();
  readonly #silent = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SilenceOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    this.#timer ??= setInterval(() => this.look(), this.#options.everyMs ?? EVERY_MS);
    return Promise.resolve();
  }

  stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    return Promise.resolve();
  }

  health(): Health {
    return { status: "ok" };
  }

  /** For the health of the account's connection, while that is well. */
  remark(account: string): Omit<Health, "status"> | undefined {
    if (!this.#silent.has(account)) return undefined;
    const minutes = Math.round((this.#options.afterMs ?? AFTER_MS) / 60_000);
    const detail = `connected for more than ${minutes} minutes, and no message ever came: check the robot's message mode, published version, visibility`;
    return { code: "no_message_yet", detail, mend: SILENCE_MEND };
  }

  look(): void {
    const { accounts, clock, logger, afterMs = AFTER_MS } = this.#options;
    for (const { name, session } of accounts()) {
      if (this.#heard.has(name)) continue;
      try {
        if (this.#hasHeard(name)) continue;
      } catch (thrown) {
        logger.warn({ account: name, err: coerceError(thrown) }, "it is not known whether a message ever came");
        continue;
      }
      if (!session.hasConnectedOrFailedOnce() || session.downSince() !== undefined) continue;
      const since = this.#connectedAt.get(name) ?? clock.monotonic();
      this.#connectedAt.set(name, since);
      if (clock.monotonic() - since < afterMs || this.#silent.has(name)) continue;
      this.#silent.add(name);
      const { detail, mend } = this.remark(name) ?? {};
      logger.warn({ account: name, mend }, `no message yet: ${detail}`);
    }
  }

  #hasHeard(account: string): boolean {
    if (!this.#options.store.knowsConversations(account)) return false;
    this.#heard.add(account);
    this.#connectedAt.delete(account);
    if (this.#silent.delete(account)) this.#options.logger.info({ account }, "the first message has come");
    return true;
  }
}
