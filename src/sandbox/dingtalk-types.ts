import type { Readable } from "node:stream";
import type { SimulatedCard } from "./dingtalk-card-types.ts";
import type { CloseHow, SimulatorKnobs } from "./dingtalk-knobs.ts";

/** An app of the developer console, with its robot. */
export interface SimulatedApp {
  appKey: string;
  appSecret: string;
  /** Defaults to the app key, as for every internal app. */
  robotCode?: string;
  /** The organisation; apps share one unless told otherwise. Budgets are counted per organisation. */
  corpId?: string;
  robotName?: string;
  /** Unpublished robots get neither `senderStaffId` nor `isAdmin`. Default true. */
  published?: boolean;
  /** Permissions that were not granted, e.g. `qyapi_robot_sendmsg`. */
  missingScopes?: string[];
}

export interface SimulatedUser {
  staffId: string;
  name: string;
  /** Belongs to another organisation: known in chats, without a staff id on the wire. */
  outsider?: boolean;
  admin?: boolean;
}

export interface SimulatedGroup {
  conversationId: string;
  title: string;
  /** Staff ids. */
  members?: string[];
  /** App keys of the robots in the group; all of them unless given. */
  robots?: string[];
}

/** A custom robot of a group: a webhook and nothing else (dingtalk-protocol.md §3.3). */
export interface CustomRobot {
  accessToken: string;
  /** Conversation id or title. */
  group: string;
  /** Calls must be signed with it. */
  secret?: string;
}

export interface SimulatorOptions {
  apps: SimulatedApp[];
  /** Default 127.0.0.1. */
  host?: string;
  /** Default 0: any free port. */
  port?: number;
  /** How clients reach it, when that differs from host and port: goes into endpoints and sessionWebhooks. */
  publicUrl?: string;
  knobs?: Partial<SimulatorKnobs>;
  /** Default 张三 (staff001, admin) and 李四 (staff002). */
  users?: SimulatedUser[];
  /** Default 测试群. */
  groups?: SimulatedGroup[];
  customRobots?: CustomRobot[];
  /** Source of chance, 0 ≤ x < 1. Default Math.random. */
  random?: () => number;
}

/** What a person says to a robot. */
export interface SaidMessage {
  /** App key (or robot code) of the robot spoken to; default the first app. */
  app?: string;
  /** Staff id; unknown people are created. Default the first user. */
  from?: string;
  text?: string;
  /** Conversation id or title of a group; unknown groups are created. Absent: the direct conversation with the robot. */
  group?: string;
  /** Others who are @-ed: staff ids, and app keys of other robots of the group (each of which gets the message too). */
  at?: string[];
  /** false: the robot itself is not @-ed, so DingTalk does not deliver a group message to it. */
  mention?: boolean;
  /** Default `text`; `picture`, `richText`, `audio`, `video`, `file` have a default content. */
  msgtype?: string;
  content?: unknown;
  /** Merged over the generated body; a value of `null` removes the key. */
  payload?: object;
  /** Deliver even what DingTalk never would (audio, video and file in a group). */
  force?: boolean;
  /**
   * What the generated download codes of a picture, audio, video, file or richText deliver: several for the pictures of a
   * richText, which then has so many. Default: a small file of the right kind. Without effect when `content` is given: use
   * `media.offer` for the codes in it.
   */
  file?: SaidFile | readonly SaidFile[];
}

/** Kinds of messages that carry a file. */
export type MediaKind = "picture" | "audio" | "video" | "file";

/**
 * A file that somebody sends: its bytes, or a stream of `bytes` that is opened anew for every download. Without `data`, a
 * generated stream that begins as its kind does.
 */
export type SaidFile = Buffer | { data?: () => Readable; bytes: number };

/** A file behind a download code of its own. */
export interface OfferedFile {
  data: Buffer | (() => Readable);
  /** Length of a stream; a stream without it is served without Content-Length. */
  bytes?: number;
  fileName?: string;
  /** App key of the robot that the code is for; default the first app. */
  app?: string;
}

/** What was uploaded to `/media/upload`. */
export interface UploadedFile {
  seq: number;
  at: number;
  app: string;
  type: "image" | "voice" | "video" | "file";
  mediaId: string;
  /** As sent in the multipart part. */
  fileName: string;
  /** Content type of the part. */
  mimeType: string;
  bytes: number;
  /** Hex. */
  sha256: string;
  /** Of files up to 1 MB. */
  data: Buffer | undefined;
}

/** One push. `messageIds` grows with every redelivery. */
export interface PushHandle {
  app: string;
  /** `data.msgId` of a robot message, `eventId` of an event. */
  msgId: string | undefined;
  messageIds: string[];
  /** What `data` carries, parsed. */
  body: unknown;
  /** Written to a connection; false when lost, queued or never to be delivered: see `reason`. */
  delivered: boolean;
  reason: "no_connection" | "queued" | "not_subscribed" | "not_mentioned" | "lost" | undefined;
  connectionId: string | undefined;
  /** The same message at the other robots that were @-ed. */
  copies: PushHandle[];
  /** The accepted ack (now or when it comes); rejects after the timeout, default 5 s. */
  acked(timeoutMs?: number): Promise<AckRecord>;
}

export interface PushRecord {
  seq: number;
  at: number;
  app: string;
  type: string;
  topic: string;
  messageId: string;
  msgId: string | undefined;
  connectionId: string;
  /** 1 = first delivery. */
  attempt: number;
  /** The connection was dead or half-open: nothing was written. */
  intoVoid: boolean;
}

export interface AckRecord {
  seq: number;
  at: number;
  app: string;
  messageId: string;
  msgId: string | undefined;
  topic: string | undefined;
  latencyMs: number;
  connectionId: string;
  code: number | undefined;
  /** `data` of the ack, parsed. */
  data: unknown;
  late: boolean;
  /** This push had been acked before. */
  repeated: boolean;
  /** What is wrong with it; such an ack does not count. */
  malformed?: string;
}

/** Something that "appeared in a chat". */
export interface SentMessage {
  seq: number;
  at: number;
  app: string;
  route: "webhook" | "oto" | "group" | "custom";
  /** Of the group or, by webhook, of the conversation; `oto`: the direct conversation of the first user. */
  conversationId: string;
  /** People it reached, route `oto`. */
  userIds?: string[];
  /** Webhook. */
  msgtype?: string;
  /** Open API. */
  msgKey?: string;
  /** The words of it: text, Markdown source, card text; "" where there are none. */
  text: string;
  title?: string;
  /** Staff ids that were really @-ed (in `at` and in the text); "all" = everybody. */
  mentions: string[];
  processQueryKey?: string;
  /** false when the answer was lost on purpose (fault) or the caller had gone. */
  answered: boolean;
  /** The webhook body, or `msgParam` parsed. */
  raw: unknown;
  /** Taken back by the robot: nobody sees it any more. */
  recalled?: true;
  /** Staff ids of those who have read it (`read`). */
  readBy?: string[];
}

export interface RequestRecord {
  seq: number;
  /** Arrival, epoch ms with fractions, never going back. */
  at: number;
  app: string | undefined;
  /** Name of the API (`ApiName`), or "unknown". */
  api: string;
  method: string;
  path: string;
  /** 0 while open; 499 when the caller went away first or the connection was cut by a fault. */
  status: number;
  /** DingTalk's `code` or `errcode`; "ok" for success. */
  code: string;
  durationMs: number;
  bytes: number;
  /** The API did its work. */
  executed: boolean;
  /** Kind of the injected fault. */
  fault?: string;
  conversationId?: string;
  /** Parsed JSON body; absent for calls that carry secrets. */
  body?: unknown;
}

export interface ConnectionInfo {
  seq: number;
  id: string;
  app: string;
  ua: string | undefined;
  localIp: string | undefined;
  subscriptions: { type: string; topic: string }[];
  openedAt: number;
  live: boolean;
  /** A `disconnect` notice was sent: nothing is delivered any more. */
  draining: boolean;
  mode: "normal" | "half-open" | "zombie";
  pushes: number;
  acks: number;
  wsPings: number;
  unansweredPings: number;
  closedAt?: number;
  closeCode?: number;
  closedBy?: "client" | "server";
}

export interface EventMap {
  sent: SentMessage;
  /** A card was created, delivered or changed. */
  card: SimulatedCard;
  ack: AckRecord;
  request: RequestRecord;
  pushed: PushRecord;
  redelivered: PushRecord;
  connected: ConnectionInfo;
  closed: ConnectionInfo;
  problem: string;
}
export type EventName = keyof EventMap;
export const eventNames: readonly EventName[] = [
  "sent",
  "card",
  "ack",
  "request",
  "pushed",
  "redelivered",
  "connected",
  "closed",
  "problem",
];

/** Which connections: one by id, else all live ones of an app, else all. */
export interface ConnectionChoice {
  app?: string;
  connectionId?: string;
}

export interface DisconnectOptions extends ConnectionChoice {
  reason?: string;
  /** Without `messageId` and `specVersion`. */
  bare?: boolean;
  graceMs?: number;
  how?: CloseHow;
}

/** What a gateway frame carries; `data` is turned into the JSON string of the wire unless it is a string already. */
export interface TrackedPush {
  app?: string;
  type: "CALLBACK" | "EVENT";
  topic: string;
  data: unknown;
  /** Added to the headers: `eventId`, `eventType`, … */
  headers?: Record<string, string>;
}
