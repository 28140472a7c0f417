import { parseTarget } from "../domain/target.ts";
import type { QueueStore } from "../queue/store.ts";
import { conversationOf, roadsOf } from "./outbound-roads.ts";

const ANY_CARD = { type: "card", outTrackId: "", templateId: "", params: {} } as const;

/** Where a card for this target goes; undefined where none can be sent: a direct conversation without a known staffId. */
export function cardTarget(
  store: QueueStore,
  account: string,
  to: string,
): { staffId: string } | { openConversationId: string } | undefined {
  const target = parseTarget(to);
  if (!target) return undefined;
  const [road] = roadsOf(ANY_CARD, target, conversationOf(store, account, target), undefined);
  return road?.api === "card" ? road.to : undefined;
}
