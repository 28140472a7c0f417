import type { DingtalkSimulator } from "../../../src/sandbox/dingtalk-simulator.ts";

/** What the robot said, as people see it: a message, or a card that is finished. */
export interface Said {
  text: string;
  conversationId: string;
}

/** Everything that appeared in the chats, in its order there; pictures and files have no text. */
export function saidIn({ sent, cards }: Pick<DingtalkSimulator, "sent" | "cards">): Said[] {
  const finished = cards
    .filter(({ flowStatus }) => flowStatus === "3")
    .map(({ seq, conversationId, content }) => ({ seq, conversationId, text: Object.values(content).join("\n") }));
  return [...sent, ...finished]
    .toSorted((one, other) => one.seq - other.seq)
    .map(({ text, conversationId }) => ({ text, conversationId }))
    .filter(({ text }) => text !== "");
}
