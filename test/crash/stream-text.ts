import { renderForCard, renderForMessage } from "../../src/domain/card-text.ts";
import { NOTICES, SEE_NEXT_MESSAGE } from "../../src/domain/notices.ts";

/** Stands below what is known of a text whose end never came. */
export const INTERRUPTED = NOTICES.interrupted["zh-CN"];

/**
 * The characters that people read, without what rendering may change: white space, the line breaks of cards, the blank line
 * before a table.
 */
export function squashed(text: string): string {
  return text.replaceAll(/<br\s*\/?>/g, "").replaceAll(/\s+/g, "");
}

/** How a text may read when all of it is shown: as it is, or with the open fence or bold text closed at its end. */
export function readings(text: string): string[] {
  return [...new Set([text, renderForCard(text), renderForMessage(text)].map(squashed))];
}

export const withNote = (text: string): string =>
  text.trim() === "" ? INTERRUPTED : `${text.trimEnd()}\n\n${INTERRUPTED}`;

/** Whether a card only says that its text is elsewhere. */
export const isPointer = (content: string): boolean => squashed(content) === squashed(SEE_NEXT_MESSAGE["zh-CN"]);

/**
 * Whether pieces, in their order, say all of a text; `used` are the fewest that do. Pieces that are left out say it again, or say
 * what was known of it before.
 */
export function spellOut(pieces: readonly string[], text: string): { used: number } | undefined {
  for (const wanted of readings(text)) {
    if (wanted === "") return { used: 0 };
    /** How far the text is said, by how few pieces. */
    const reached = new Map<number, number>([[0, 0]]);
    for (const piece of pieces) {
      if (piece === "") continue;
      for (const [at, used] of reached.entries().toArray()) {
        if (!wanted.startsWith(piece, at)) continue;
        const end = at + piece.length;
        reached.set(end, Math.min(reached.get(end) ?? Infinity, used + 1));
      }
    }
    const used = reached.get(wanted.length);
    if (used !== undefined) return { used };
  }
  return undefined;
}
