/** Whom an API call names: a conversation by its id, or a person by staffId. Ids are opaque and case-sensitive. */
export type Target = { kind: "conversation"; id: string } | { kind: "user"; id: string };

/**
 * Reads `conversation:<id>` or `user:<staffId>`; undefined for anything else. No conversation's id begins like the lane of a card or of a
 * person: what is sent to one would stand in that lane.
 */
export function parseTarget(to: string): Target | undefined {
  const match = /^(conversation(?!:(?:card|user):)|user):(\S+)$/.exec(to);
  if (!match?.[2]) return undefined;
  return { kind: match[1] as Target["kind"], id: match[2] };
}
