/** A message of one conversation; `turn` is its place at the gateway, Infinity when it never got there. */
export interface Placed {
  text: string;
  saidAt: number;
  ackedAt: number;
  turn: number;
}

/**
 * Messages that were overtaken: another one, said only after they had been acked, has an earlier place. One pass over the
 * places from the back, with the earliest ack of all that come later.
 */
export function mostOverdue(messages: readonly Placed[]): string[] {
  const byPlace = messages.filter(({ turn }) => turn !== Infinity).toSorted((a, b) => b.turn - a.turn);
  const found: string[] = [];
  let earliest: Placed | undefined;
  for (const message of byPlace) {
    if (earliest && earliest.ackedAt < message.saidAt) found.push(`${message.text} before ${earliest.text}`);
    if (!earliest || message.ackedAt < earliest.ackedAt) earliest = message;
  }
  return found;
}

/** Neighbours of `list` whose first arrivals are the other way round. */
export function outOfOrder(list: readonly string[], arrival: ReadonlyMap<string, number>): string[] {
  return list.slice(1).flatMap((text, index) => {
    const before = list[index] ?? "";
    return (arrival.get(before) ?? 0) > (arrival.get(text) ?? Infinity) ? [`${text} before ${before}`] : [];
  });
}
