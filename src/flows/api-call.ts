import type { Outcome } from "../domain/outcome.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { AccountSender, Api } from "./account.ts";

export interface ApiCall {
  account: string;
  api: Api;
  /** Whose call it is: one lane's failures alone do not shut the gate for the others. */
  lane?: string;
  /** Among those that wait for the limiter the highest goes first; default 0. */
  priority?: number;
  /** Calls it off while it waits for the limiter: rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Whether it went out in the end; a slot of the limiter that was not used is free at once. */
  sent?: () => boolean;
  /** In the turn of the answer, before anything else may be sent; without an outcome for a fault of our own. */
  onAnswer?: (outcome: Outcome | undefined) => void;
}

/**
 * One call of DingTalk: waits for its API's limiter, passes its gate, and pauses at once what the answer asks to pause.
 * Behind a gate that was shut meanwhile nothing is called: `retry`, peer-away.
 */
export function callApi(
  sender: Pick<AccountSender, "limiter" | "gates">,
  { account, api, lane, priority, signal, sent, onAnswer }: ApiCall,
  metrics: Metrics,
  call: () => Promise<Outcome>,
): Promise<Outcome> {
  const waited = metrics.limiterWaitSeconds.startTimer({ account, api });
  const gate = sender.gates[api];
  return sender.limiter[api].run(
    () => {
      waited();
      // Asked after the wait: the gate may have been shut meanwhile.
      return gate.observe(async () => {
        const outcome = await call().catch((error: unknown) => {
          onAnswer?.(undefined);
          throw error;
        });
        // In the turn of the answer: a moment later the next send might already be under way.
        pauseAsTold(sender, api, outcome);
        onAnswer?.(outcome);
        return outcome;
      }, lane);
    },
    { priority, signal, used: sent },
  );
}

/** A throttle concerns one API, a blocked address all of the account's. */
function pauseAsTold(sender: Pick<AccountSender, "gates">, api: Api, outcome: Outcome): void {
  if (outcome.kind !== "retry" || outcome.afterMs === undefined) return;
  if (outcome.code === "dingtalk_throttled") sender.gates[api].pause(outcome.afterMs);
  if (outcome.code === "dingtalk_ip_blocked")
    for (const gate of Object.values(sender.gates)) gate.pause(outcome.afterMs);
}
