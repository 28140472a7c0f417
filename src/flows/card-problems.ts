import type { Clock } from "../ops/clock.ts";
import type { Logger } from "../ops/logger.ts";
import type { Health } from "../ops/service.ts";

/** What keeps all cards of an account from being shown until a person mends it. */
export type CardProblem = "template" | "create" | "stream";

interface Known {
  problem: CardProblem;
  detail: string;
  /** Monotonic; the next card is tried then. */
  until: number;
  waitMs: number;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const LONGEST_MS = 10 * MINUTE;
/** Until a card is tried again: a template does not come back by itself, a permission may be granted while somebody looks on. */
const FIRST_MS: Record<CardProblem, number> = { template: LONGEST_MS, create: 30 * SECOND, stream: 30 * SECOND };

const MENDS: Record<CardProblem, string> = {
  template:
    "set DINGTALK_CARD_TEMPLATE_ID to a published template of your own (open-dev.dingtalk.com → 卡片平台), or to off",
  create:
    "open-dev.dingtalk.com → the app → 权限管理 → 互动卡片实例写权限 (Card.Instance.Write); to check: dingtalk-bridge doctor",
  stream:
    "open-dev.dingtalk.com → the app → 权限管理 → AI卡片流式更新权限 (Card.Streaming.Write); to check: dingtalk-bridge doctor",
};
const SAYS: Record<CardProblem, string> = {
  template: "DingTalk refuses the card template",
  create: "DingTalk lets the app create no cards",
  stream: "DingTalk lets the app stream no text to cards",
};

/** Says once per account why its replies are not shown as cards, and when to try again. */
export class CardProblems {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #known = new Map<string, Known>();

  constructor(options: { clock: Clock; logger: Logger }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** Whether cards of the account may be tried now. */
  admits(account: string): boolean {
    const known = this.#known.get(account);
    return !known || this.#clock.monotonic() >= known.until;
  }

  note(account: string, problem: CardProblem, detail: string): void {
    const known = this.#known.get(account);
    const isSame = known?.problem === problem;
    const now = this.#clock.monotonic();
    // Others were under way when it was found out.
    if (isSame && now < known.until) return;
    const waitMs = isSame ? Math.min(LONGEST_MS, known.waitMs * 2) : FIRST_MS[problem];
    this.#known.set(account, { problem, detail, until: now + waitMs, waitMs });
    if (isSame) return;
    this.#logger.warn(
      { account, problem, detail, mend: MENDS[problem] },
      `${SAYS[problem]}: replies are sent as messages when they are complete`,
    );
  }

  /** It works. */
  solved(account: string, problem: CardProblem): void {
    if (this.#known.get(account)?.problem !== problem) return;
    this.#known.delete(account);
    this.#logger.info({ account, problem }, "replies are shown as cards again");
  }

  health(): Health {
    const all = [...this.#known];
    const [first] = all;
    if (!first) return { status: "ok" };
    const detail = all.map(([account, known]) => `${account}: ${SAYS[known.problem]}: ${known.detail}`).join("; ");
    const code = first[1].problem === "template" ? "card_template_missing" : "dingtalk_permission_missing";
    return { status: "degraded", code, detail, mend: MENDS[first[1].problem] };
  }
}
