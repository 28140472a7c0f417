import type { ApiAnswer, FileBody } from "./dingtalk-errors.ts";
import type { StoredFile } from "./dingtalk-media.ts";

const xml = (status: number, code: string, message: string): ApiAnswer => ({
  status,
  code,
  contentType: "application/xml",
  body: `<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n  <Code>${code}</Code>\n  <Message>${message}</Message>\n</Error>\n`,
});

/** Answers of the object store behind a download address. */
export const objectErrors = {
  expired: () => xml(403, "AccessDenied", "Request has expired."),
  unknown: () => xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match."),
  range: () => xml(416, "InvalidRange", "The requested range cannot be satisfied."),
};

/** `bytes=a-b`, `bytes=a-`, `bytes=-n`; undefined for what a server ignores. Inclusive ends. */
function rangeOf(header: string | undefined, bytes: number): { from: number; to: number } | "invalid" | undefined {
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === "" && last === "") return undefined;
  const from = first === "" ? Math.max(0, bytes - Number(last)) : Number(first);
  const to = first === "" || last === "" ? bytes - 1 : Math.min(Number(last), bytes - 1);
  return from > to ? "invalid" : { from, to };
}

/** The whole file, or the part that was asked for. */
export function fileAnswer(file: StoredFile, range: string | undefined): ApiAnswer {
  const { bytes } = file;
  const wanted = bytes === undefined ? undefined : rangeOf(range, bytes);
  if (wanted === "invalid") return objectErrors.range();
  const headers = bytes === undefined ? {} : { "accept-ranges": "bytes" };
  const answer = (status: number, body: Omit<FileBody, "open">): ApiAnswer => ({
    status,
    body: undefined,
    file: { ...body, open: () => file.open() },
    code: "ok",
    contentType: "application/octet-stream",
  });
  if (wanted === undefined) return answer(200, { skip: 0, bytes, headers });
  const { from, to } = wanted;
  return answer(206, {
    skip: from,
    bytes: to - from + 1,
    headers: { ...headers, "content-range": `bytes ${from}-${to}/${bytes}` },
  });
}
