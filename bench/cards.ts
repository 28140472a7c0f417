import type { DingtalkSimulator } from "../src/sandbox/dingtalk-simulator.ts";
import { sharedNow } from "../test/support/daemon-proc.ts";

export interface CardTimes {
  /** What its text begins with, up to the first blank. */
  key: string;
  /** It appeared, with its first text. */
  shownAt: number;
  /** Of the first streaming update; undefined: there was none before the last. */
  updatedAt: number | undefined;
  /** Updates between creation and end. */
  updates: number;
  /** Finished or failed; undefined: neither. */
  endedAt: number | undefined;
}

export interface CardsSeen {
  cards: CardTimes[];
  /** Open API calls by class. */
  calls: Record<string, number>;
  /** Most card calls within any second, by arrival. */
  busiest: number;
  refused: number;
  problems: readonly string[];
}

const WINDOW_MS = 1_000;

/** What DingTalk saw of cards. */
export class CardRecords {
  readonly #simulator: DingtalkSimulator;
  #cards = new Map<string, CardTimes>();
  #taken = 0;

  constructor(simulator: DingtalkSimulator) {
    this.#simulator = simulator;
    simulator.events.on("card", ({ outTrackId, params, flowStatus, streamed }) => {
      const at = sharedNow();
      const text = params["msgContent"] ?? "";
      const fresh = {
        key: text.split(" ")[0] ?? "",
        shownAt: at,
        updatedAt: undefined,
        updates: 0,
        endedAt: undefined,
      };
      const card: CardTimes = this.#cards.get(outTrackId) ?? fresh;
      this.#cards.set(outTrackId, card);
      const isEnd = flowStatus === "3" || flowStatus === "5";
      card.updates = streamed - (isEnd ? 1 : 0);
      if (isEnd) card.endedAt ??= at;
      else if (streamed > 0) card.updatedAt ??= at;
    });
  }

  /** Since the last call. */
  take(): CardsSeen {
    const requests = this.#simulator.requests.filter(({ seq }) => seq > this.#taken);
    this.#taken = requests.at(-1)?.seq ?? this.#taken;
    const ofCards = requests.filter(({ api }) => api.startsWith("card/"));
    const paid = requests.filter(({ api }) => /^(card|oToMessages|groupMessages|robot)\//.test(api));
    const cards = [...this.#cards.values()];
    this.#cards = new Map();
    return {
      cards,
      calls: Object.fromEntries([...Map.groupBy(paid, classOf)].map(([name, list]) => [name, list.length])),
      busiest: busiest(ofCards.map(({ at }) => at)),
      refused: ofCards.filter(({ code }) => code !== "ok").length,
      problems: this.#simulator.problems,
    };
  }
}

function classOf({ api, body }: { api: string; body?: unknown }): string {
  if (api === "card/instances/createAndDeliver") return "create";
  if (api !== "card/streaming") return api;
  const { isFinalize, isError } = body as { isFinalize?: boolean; isError?: boolean };
  return isFinalize === true || isError === true ? "finish" : "update";
}

/** `at` ascending. */
function busiest(at: readonly number[]): number {
  let most = 0;
  let from = 0;
  for (const [to, time] of at.entries()) {
    while ((at[from] ?? time) <= time - WINDOW_MS) from += 1;
    most = Math.max(most, to - from + 1);
  }
  return most;
}
