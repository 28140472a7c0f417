/** `If-None-Match` against a strong ETag; compared weakly, as RFC 9110 §13.1.2 asks. */
export function isUnchanged(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.trim() === "*" || header.split(",").some((one) => one.trim().replace(/^W\//, "") === etag);
}

/** First and last byte, both included. */
export interface ByteRange {
  start: number;
  end: number;
}

/**
 * What of a file of `size` bytes (at least one) was asked for (RFC 9110 §14). Undefined: all of it, as for a header that
 * is no range, for several ranges, and for an `If-Range` of other content. `@fastify/send` answers 416 to a suffix that is
 * longer than the file.
 */
export function rangeOf(
  headers: { range?: string | undefined; "if-range"?: string | undefined },
  size: number,
  etag: string,
): ByteRange | "unsatisfiable" | undefined {
  const ifRange = headers["if-range"];
  if (ifRange !== undefined && ifRange.trim() !== etag) return undefined;
  const [, first = "", last = ""] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(headers.range?.trim() ?? "") ?? [];
  if (first === "" && last === "") return undefined;
  if (first === "")
    return Number(last) === 0 ? "unsatisfiable" : { start: Math.max(0, size - Number(last)), end: size - 1 };
  if (last !== "" && Number(last) < Number(first)) return undefined;
  if (Number(first) >= size) return "unsatisfiable";
  return { start: Number(first), end: last === "" ? size - 1 : Math.min(Number(last), size - 1) };
}
