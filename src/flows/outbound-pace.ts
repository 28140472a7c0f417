import type { Target } from "../domain/target.ts";
import { type Conversation, userLane } from "../queue/store.ts";
import { isGroup } from "./outbound-roads.ts";
import type { Pacing } from "./pacing.ts";

/** The limits of one conversation (flows/pacing.ts). Milliseconds. */
export interface Pace {
  wait(): number;
  answered(agoMs?: number): void;
  throttled(): number;
  taken(): void;
}

/** The pace of the conversation that a target is, the same before and after a person's conversation is known. */
export function paceOf(pacing: Pacing, account: string, target: Target, conversation: Conversation | undefined): Pace {
  const staffId = target.kind === "user" ? target.id : conversation?.staffId;
  const key = staffId === undefined ? `${account}\n${target.id}` : userLane(account, staffId);
  return {
    wait: () => pacing.wait(key, isGroup(target, conversation)),
    answered: (agoMs) => pacing.answered(key, agoMs),
    throttled: () => pacing.throttled(key),
    taken: () => pacing.taken(key),
  };
}
