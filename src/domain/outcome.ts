import type { ErrorCode } from "./errors.ts";

/** How a part reached DingTalk, and the id DingTalk gave it (none for webhook messages: dingtalk-protocol.md §3.2). */
export interface Receipt {
  route: "webhook" | "open-api" | "gateway";
  /** `processQueryKey` of the Open API: read status and recall (24 h). */
  processQueryKey?: string;
  /** What the gateway said about a message it took: `denied: …`, `skipped: …`, `merged`. */
  decision?: string;
  reason?: string;
  runId?: string;
  /** Epoch milliseconds. */
  at: number;
}

/**
 * What came of one attempt at one entry. `peer-away` attempts are never counted, `entry` attempts are. `uncertain`
 * means that the request was written and no answer came; it is counted only while the peer answers others.
 */
export type Outcome =
  | { kind: "delivered"; receipt?: Receipt }
  | { kind: "retry"; code: ErrorCode; class: "peer-away" | "entry"; afterMs?: number; detail?: string }
  | { kind: "held"; afterMs: number }
  | { kind: "rejected"; code: ErrorCode; detail: string }
  | { kind: "uncertain"; code: ErrorCode; detail?: string; counted?: boolean };
