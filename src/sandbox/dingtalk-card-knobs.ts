/** The public template of DingTalk's own connector (dingtalk-protocol.md §4.5). */
export const publicTemplate = "02fcf2f4-5e02-4a85-b672-46d1f715543e.schema";

/**
 * Limits and UNKNOWNs of cards and reactions (dingtalk-protocol.md §3.10, §4). Part of `SimulatorKnobs`; a limit of 0 is
 * switched off.
 */
export interface CardKnobs {
  /** Published templates; "*" stands for all. Others answer `param.templateNotExist`. */
  cardTemplates: readonly string[];
  /** Templates that answer `param.templateUnpublished`. */
  cardTemplatesUnpublished: readonly string[];
  /** Variables with the streaming switch, by template; another key answers 500 unknownError. Unlisted templates take any. */
  cardStreamKeys: Readonly<Record<string, readonly string[]>>;
  /** Streamed variables are Markdown: `isFull` has to be true. */
  cardMarkdown: boolean;
  /** Bytes of one streaming update. The documentation says 1 K, the field says more. */
  cardStreamBytes: number;
  /** Answer above that: 400 `param.stream.content`, or 500 unknownError. */
  cardStreamTooLong: "content" | "unknownError";
  /** Bytes of one value of cardParamMap. The documentation says 1 K, the field says more. */
  cardParamBytes: number;
  /** Values of cardParamMap that are not strings answer `param.invalid`. */
  cardParamsStrict: boolean;
  /** Characters of one value above which the card is shown empty, with a successful answer. */
  cardBlankChars: number;
  /** Streaming after finish or failure (UNKNOWN): 500 unknownError, success without effect, or the card runs again. */
  cardAfterFinal: "refuse" | "ignore" | "reopen";
  /** When filled, deliveries fail with this `errorMsg` inside a 200. */
  cardDeliverError: string;
  /** A card whose delivery failed exists nevertheless: creating it again answers `param.cardAlreadyExist` (UNKNOWN). */
  cardKeptUndelivered: boolean;
  /** Card calls per second of one app, all card APIs together, besides `qps`. */
  cardQps: number;
  /** Entries kept of each card's `updates`. */
  cardUpdatesKept: number;
  /** Where an action callback carries its action: see dingtalk-protocol.md §4.6. */
  cardActionShape: "content" | "object" | "value" | "topLevel" | "actionData";
  /** `spaceType` of action callbacks instead of the card's own, when filled; "IM" was seen. */
  cardActionSpaceType: string;
  /** Reactions to a message answer 500 `system.err` for so long after it. */
  emotionSettleMs: number;
}

export const defaultCardKnobs: Readonly<CardKnobs> = {
  cardTemplates: [publicTemplate],
  cardTemplatesUnpublished: [],
  cardStreamKeys: { [publicTemplate]: ["msgContent"] },
  cardMarkdown: true,
  cardStreamBytes: 20_000,
  cardStreamTooLong: "content",
  cardParamBytes: 0,
  cardParamsStrict: true,
  cardBlankChars: 3_000,
  cardAfterFinal: "refuse",
  cardDeliverError: "",
  cardKeptUndelivered: true,
  cardQps: 0,
  cardUpdatesKept: 1_000,
  cardActionShape: "content",
  cardActionSpaceType: "",
  emotionSettleMs: 0,
};
