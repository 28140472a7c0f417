/** Every text of these tests carries marks, so that a piece of a split reply can be told from another. */
const MARK = /⟦[^⟧]*⟧/g;

const mark = (text: string): string => `⟦${text}⟧`;

export function marksIn(text: string): string[] {
  return text.match(MARK) ?? [];
}

/** A message whose text ends so is answered with a reply that needs several parts. */
export const LONG = "长";
/** A message whose text ends so is answered after a long turn: what follows in its conversation waits. */
export const SLOW = "慢";

const PARAGRAPHS = 30;
const FILLER = "这一段只是为了凑够长度。".repeat(25);

/** What the gateway answers. */
export function replyTo(text: string): string {
  if (!text.endsWith(LONG)) return `收到 ${mark(text)}`;
  return Array.from({ length: PARAGRAPHS }, (_, n) => `${mark(`${text}/${n}`)} ${FILLER}`).join("\n\n");
}
