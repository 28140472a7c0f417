import { renderForCard } from "../domain/card-text.ts";

/** What a card says for good. DingTalk refuses an empty text. */
export function contentOf(text: string): string {
  const content = renderForCard(text);
  return content.trim() === "" ? "…" : content;
}

/** What a card says of a text that is being written, and what is being done; "" while there is nothing to be seen of it. */
export function growingContent(text: string, status: string): string {
  const content = renderForCard(text, { writing: true });
  if (content.trim() === "") return "";
  const line = status.replaceAll(/\s+/g, " ").trim();
  return line === "" ? content : `${content}\n\n> ${line}`;
}
