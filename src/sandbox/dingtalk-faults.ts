import type { NamedError } from "./dingtalk-errors.ts";

interface FaultCommon {
  /** 0 … 1; default 1. */
  probability?: number;
  /** How many calls are hit; default all until `clear`. */
  count?: number;
  /** Calls let through before the first is hit; default 0. */
  skip?: number;
  /** Calls of this app only. */
  app?: string;
  /** Before the answer. Two numbers: anything between. */
  delayMs?: number | [number, number];
  /**
   * Whether the call takes effect. Default: true for `slow`, `slowBody`, `truncated`, `shortBody` and `stall` (the answer is
   * the real one, late or damaged), else false.
   */
  executed?: boolean;
}

/** What is done to an API call. Every kind may be executed or not, delayed, limited in number and by chance. */
export type ApiFault = FaultCommon &
  (
    | { kind: "answer"; status?: number; body: unknown; contentType?: string }
    /** A published error, by name. */
    | { kind: "error"; error: NamedError }
    | { kind: "html"; status?: number }
    | { kind: "xml"; status?: number }
    /** The real answer after `delayMs`. */
    | { kind: "slow" }
    /** The real answer, its JSON cut in the middle; a complete HTTP answer. */
    | { kind: "truncated" }
    /** The real answer's headers and half its body, then the connection is cut. */
    | { kind: "shortBody" }
    /** The real answer's headers and half its body, then nothing, ever; TCP stays open. */
    | { kind: "stall" }
    /** The real answer, its body spread over so many milliseconds. */
    | { kind: "slowBody"; overMs: number }
    /** No answer, ever. */
    | { kind: "hang" }
    /** TCP reset after the request was read. */
    | { kind: "reset" }
    /** 504 after `gatewayTimeoutMs`. */
    | { kind: "gatewayTimeout" }
    /** connections/open only: the real answer with another endpoint. */
    | { kind: "endpoint"; endpoint: string }
  );

/** What is done to a WebSocket upgrade. The ticket is used up. */
export type ConnectFault = Pick<FaultCommon, "probability" | "count" | "skip" | "app"> &
  (
    | { kind: "status"; status: number }
    | { kind: "reset" }
    | { kind: "hang" }
    /** Upgraded, then closed after `afterMs` (default 0). */
    | { kind: "close"; how: 1000 | 1001 | 1006 | 1011 | "rst"; afterMs?: number }
    | { kind: "slow"; delayMs: number }
  );

interface Planned<F> {
  fault: F;
  left: number;
  skip: number;
}

/** Faults of one place, tried in the order in which they were planned. */
class Plan<F extends { probability?: number; count?: number; skip?: number; app?: string }> {
  #faults: Planned<F>[] = [];

  add(fault: F): void {
    this.#faults.push({ fault, left: fault.count ?? Number.POSITIVE_INFINITY, skip: fault.skip ?? 0 });
  }

  take(app: string | undefined, random: () => number): F | undefined {
    for (const planned of this.#faults) {
      const { fault } = planned;
      if (fault.app !== undefined && fault.app !== app) continue;
      if (planned.skip > 0) {
        planned.skip--;
        continue;
      }
      if (fault.probability !== undefined && random() >= fault.probability) continue;
      if (--planned.left <= 0) this.#faults = this.#faults.filter((other) => other !== planned);
      return fault;
    }
    return undefined;
  }
}

/** The planned faults. `api("*", …)` hits every DingTalk API. */
export class FaultPlan {
  readonly #random: () => number;
  #apis = new Map<string, Plan<ApiFault>>();
  #connect = new Plan<ConnectFault>();

  constructor(random: () => number) {
    this.#random = random;
  }

  planApi(api: string, fault: ApiFault): void {
    let plan = this.#apis.get(api);
    if (!plan) this.#apis.set(api, (plan = new Plan()));
    plan.add(fault);
  }

  planConnect(fault: ConnectFault): void {
    this.#connect.add(fault);
  }

  takeApi(api: string, app: string | undefined): ApiFault | undefined {
    return this.#apis.get(api)?.take(app, this.#random) ?? this.#apis.get("*")?.take(app, this.#random);
  }

  takeConnect(app: string | undefined): ConnectFault | undefined {
    return this.#connect.take(app, this.#random);
  }

  delay(fault: FaultCommon): number {
    const { delayMs } = fault;
    if (delayMs === undefined) return 0;
    if (typeof delayMs === "number") return delayMs;
    return delayMs[0] + this.#random() * (delayMs[1] - delayMs[0]);
  }

  clear(): void {
    this.#apis = new Map();
    this.#connect = new Plan();
  }
}

/** Whether the API does its work under this fault. */
export const isExecuted = (fault: ApiFault | undefined): boolean =>
  fault === undefined ||
  (fault.executed ?? ["slow", "slowBody", "truncated", "shortBody", "stall", "endpoint"].includes(fault.kind));

/** Whether the caller gets to know the real answer. */
export const isAnswered = (fault: ApiFault | undefined): boolean =>
  fault === undefined || ["slow", "slowBody", "endpoint"].includes(fault.kind);
