import type { IncomingHttpHeaders } from "node:http";
import type { Cards } from "./dingtalk-cards.ts";
import { apiError, type ApiAnswer } from "./dingtalk-errors.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import type { Limits } from "./dingtalk-limits.ts";
import type { Media } from "./dingtalk-media.ts";
import type { UploadForm } from "./dingtalk-media-upload.ts";
import type { Reactions } from "./dingtalk-reactions.ts";
import type { Records } from "./dingtalk-records.ts";
import type { Tickets } from "./dingtalk-tickets.ts";
import type { RequestRecord, SentMessage } from "./dingtalk-types.ts";
import type { App, World } from "./dingtalk-world.ts";

/** What the APIs work on. */
export interface ApiContext {
  world: World;
  knobs: SimulatorKnobs;
  records: Records;
  limits: Limits;
  tickets: Tickets;
  cards: Cards;
  reactions: Reactions;
  media: Media;
  /** `http://127.0.0.1:port`, `ws://127.0.0.1:port`. */
  url(): { http: string; ws: string };
}

/** One call of an API. */
export interface ApiCall {
  /** The app that the credential of the call belongs to. */
  app: App | undefined;
  headers: IncomingHttpHeaders;
  query: URLSearchParams;
  params: Record<string, string>;
  raw: Buffer;
  /** The body as a JSON object; undefined when it is none. */
  json: Record<string, unknown> | undefined;
  /** The body of a `multipart` API; undefined when it is none. */
  form: UploadForm | undefined;
  record: RequestRecord;
  /** Notes something that appeared in a chat. */
  appear(message: Omit<SentMessage, "seq" | "at" | "answered">): void;
}

/**
 * One API of DingTalk. Further ones (cards, media) are further entries of the list in dingtalk-apis.ts; the pipeline of
 * dingtalk-http.ts does tokens, permissions, limits, budgets, faults and records for all alike.
 */
export interface ApiDefinition {
  /** Name in records and faults. */
  name: string;
  method: "GET" | "POST" | "PUT";
  /** Fastify route. */
  path: string;
  /** `oss` is the object store: no token, no limits of DingTalk's. */
  host: "api" | "oapi" | "oss";
  /** Takes multipart/form-data, read as a stream. */
  multipart?: true;
  /** `token`: the pipeline identifies the app and refuses bad tokens; `none`: see `identify`. */
  auth: "token" | "none";
  /** App of a call without token, for limits and faults. */
  identify?(call: ApiCall, context: ApiContext): App | undefined;
  /** Permission that the app needs. */
  scope?: string;
  /** Counts against the month's paid calls. */
  paid: boolean;
  /** App × API limits apply. */
  limited: boolean;
  /** The body carries secrets and is kept out of the records. */
  secret?: boolean;
  handle(call: ApiCall, context: ApiContext): ApiAnswer;
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const isFilled = (value: unknown): value is string => typeof value === "string" && value !== "";

/** 400 in the style of Appendix A. */
export const badRequest = (code: string, message?: string): ApiAnswer => apiError(400, code, message);
