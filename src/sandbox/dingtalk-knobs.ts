import { type CardKnobs, defaultCardKnobs } from "./dingtalk-card-knobs.ts";

/** How the simulator ends a connection: a TCP reset, a TCP end without a close frame (1006 at the client), or a WebSocket close code. */
export type CloseHow = "rst" | 1006 | 1000 | 1001 | 1011;

/**
 * Every delay, limit and UNKNOWN of dingtalk-protocol.md, with the defaults of its §6.6. Times are milliseconds; a limit
 * or interval of 0 is switched off. All may be changed while the simulator runs.
 */
export interface SimulatorKnobs extends CardKnobs {
  /** Life of a connection ticket. */
  ticketTtlMs: number;
  /** Answer to an unknown, used or expired ticket: an HTTP status, or the upgrade is accepted and closed (1008) at once. */
  ticketRefusal: 400 | 401 | 403 | "close";
  /** Delay before the WebSocket upgrade is answered. */
  handshakeDelayMs: number;

  /** SYSTEM ping. */
  pingEveryMs: number;
  /** Pings that may go unanswered before the server resets the connection; 0 = it never does. */
  dropAfterMissedPings: number;
  sendConnected: boolean;
  sendRegistered: boolean;
  /** SYSTEM KEEPALIVE. */
  keepAliveEveryMs: number;
  /** Age at which the server rotates a connection. */
  rotateEveryMs: number;
  /** How it rotates: with the announced `disconnect`, or abruptly. */
  rotation: "disconnect" | CloseHow;
  /** From the `disconnect` frame to the end of the TCP connection. */
  disconnectGraceMs: number;
  disconnectClose: CloseHow;
  /** The variant of the `disconnect` frame without `messageId` and `specVersion`. */
  disconnectBare: boolean;

  /** What happens to a message when the app has no connection. */
  offline: "lose" | "queue";
  /** An ack after this is recorded as late (robot messages, events). */
  ackLateAfterMs: number;
  /** The same for card callbacks. */
  cardCallbackLateAfterMs: number;
  redeliverAfterMs: number;
  /** Extra copies of a push that is not acked. 0 is the "fire-forget" of the published protocol text. */
  redeliveries: number;
  redeliverSameMessageId: boolean;
  /** Send to the oldest connection, dead or alive, instead of a random healthy one. */
  preferStale: boolean;

  webhookTtlMs: number;
  tokenTtlMs: number;
  /** DingTalk's clock minus ours: `createAt`, `time`, `sessionWebhookExpiredTime`. */
  clockSkewMs: number;

  /** Calls per second, app and API. */
  qps: number;
  /** 403 QpsLimitForAppkeyAndApi, or 429 system.busy. */
  throttleAnswer: 403 | 429;
  /** Calls per minute, app and API (the real number is UNKNOWN). */
  qpm: number;
  /** Calls per second and API of all apps together. */
  platformQps: number;
  /** Calls per `ipWindowMs` of everything together; above it everything is blocked for `ipBlockMs`. */
  ipCalls: number;
  ipWindowMs: number;
  ipBlockMs: number;
  ipBlockAnswer: "html" | "json";
  /** Messages per minute and robot through the Open API. */
  robotPerMinute: number;
  /** Messages per minute and conversation through sessionWebhooks (UNKNOWN); the excess answers `webhookThrottleCode`. */
  webhookPerMinute: number;
  webhookPenaltyMs: number;
  webhookThrottleCode: 130101 | 410100;
  /** The same for each custom robot, where the numbers are documented. */
  customRobotPerMinute: number;
  /** groupMessages/send per minute and group; the excess answers 400 send.too.fast. */
  groupPerMinute: number;
  /** oToMessages/batchSend per minute and user; the excess is in flowControlledStaffIdList. */
  userPerMinute: number;
  /** DingTalk's own gateway answers 504 after this (fault `gatewayTimeout`). */
  gatewayTimeoutMs: number;

  /** Month's budgets per organisation; Infinity (null over HTTP) = no end. */
  monthlyCalls: number;
  monthlyUnits: number;
  /** Key names and type of the over-quota message, on which the documentation disagrees. */
  quotaKeys: "errorCode" | "errCode";
  quotaCodeType: "number" | "string";

  groupParamBytes: number;
  otoParamBytes: number;
  webhookBodyBytes: number;
  /** sessionWebhook takes image, voice, video and file as some clients send them, instead of 400105. */
  webhookMedia: boolean;

  /** Life of a download code (UNKNOWN). */
  downloadCodeLifeMs: number;
  /** Life of the address that a download code gives (UNKNOWN). */
  downloadUrlLifeMs: number;
  /** Upload type `voice` takes ogg: not documented, though sampleAudio is documented to play it. */
  uploadOgg: boolean;
  /** Age up to which a message can be recalled and asked about. */
  recallWindowMs: number;
  /** How the refusal to recall a single message is told (UNKNOWN): 200 with `failedResult`, or 400 with the code. */
  recallRefusal: "result" | "error";
  /** What becomes of a second recall of one message (UNKNOWN). */
  recallAgain: "taken" | "refused";

  /** Entries kept of each record list. */
  maxRecords: number;
}

export const defaultKnobs: Readonly<SimulatorKnobs> = {
  ...defaultCardKnobs,
  ticketTtlMs: 90_000,
  ticketRefusal: 401,
  handshakeDelayMs: 0,
  pingEveryMs: 30_000,
  dropAfterMissedPings: 0,
  sendConnected: false,
  sendRegistered: false,
  keepAliveEveryMs: 0,
  rotateEveryMs: 21_600_000,
  rotation: "disconnect",
  disconnectGraceMs: 10_000,
  disconnectClose: 1006,
  disconnectBare: false,
  offline: "lose",
  ackLateAfterMs: 3_000,
  cardCallbackLateAfterMs: 2_000,
  redeliverAfterMs: 60_000,
  redeliveries: 1,
  redeliverSameMessageId: false,
  preferStale: false,
  webhookTtlMs: 5_400_000,
  tokenTtlMs: 7_200_000,
  clockSkewMs: 0,
  qps: 20,
  throttleAnswer: 403,
  qpm: 0,
  platformQps: 0,
  ipCalls: 10_000,
  ipWindowMs: 20_000,
  ipBlockMs: 300_000,
  ipBlockAnswer: "html",
  robotPerMinute: 6_000,
  webhookPerMinute: 0,
  webhookPenaltyMs: 600_000,
  webhookThrottleCode: 130101,
  customRobotPerMinute: 20,
  groupPerMinute: 0,
  userPerMinute: 0,
  gatewayTimeoutMs: 3_000,
  monthlyCalls: Number.POSITIVE_INFINITY,
  monthlyUnits: Number.POSITIVE_INFINITY,
  quotaKeys: "errorCode",
  quotaCodeType: "number",
  groupParamBytes: 15_000,
  otoParamBytes: 15_000,
  webhookBodyBytes: 20_000,
  webhookMedia: false,
  downloadCodeLifeMs: 86_400_000,
  downloadUrlLifeMs: 3_600_000,
  uploadOgg: true,
  recallWindowMs: 86_400_000,
  recallRefusal: "result",
  recallAgain: "taken",
  maxRecords: 200_000,
};

/** Sets of knobs that belong together. */
export const knobPresets = {
  /** No rate limit of any kind: for throughput measurements. */
  unlimited: { qps: 0, qpm: 0, platformQps: 0, ipCalls: 0, robotPerMinute: 0, customRobotPerMinute: 0 },
  /** The published protocol text of 2023: robot messages are never repeated. */
  fireForget: { redeliveries: 0 },
  /** The free edition since 2025-11-19. */
  standardEdition: { monthlyCalls: 5_000, monthlyUnits: 3_000, qps: 20 },
} as const satisfies Record<string, Partial<SimulatorKnobs>>;
