/** Health of one part. `detail` never carries a secret; `mend` is the operator's next step. */
export interface Health {
  status: "starting" | "ok" | "degraded" | "down";
  code?: string;
  detail?: string;
  mend?: string;
}

/**
 * A part with a life. `start` returns when the part works or has begun to try; `stop` returns when nothing of it is
 * left (timers, sockets, listeners). Stop without start, stop twice and start after stop must all work.
 */
export interface Service {
  readonly name: string;
  start(): Promise<void>;
  stop(options: { signal: AbortSignal }): Promise<void>;
  health(): Health;
}
