import { BridgeError } from "../domain/errors.ts";

const DINGTALK_HOST = /(^|\.)dingtalk\.(com|io)$/;

/**
 * The WebSocket address of an open answer, with its ticket in the query. The host must be DingTalk's or the one that was
 * asked, so that a forged answer cannot send us elsewhere; an unencrypted address is taken only from an unencrypted API.
 * The result carries the ticket: log its `host`, never the whole.
 *
 * @throws BridgeError `stream_bad_answer`
 */
export function endpointUrl(endpoint: string, ticket: string, apiBase: string): URL {
  // Not chained as a cause: the URL parser's error repeats its input.
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined) throw refused("is not a URL");
  const base = new URL(apiBase);
  const allowed = base.protocol === "http:" ? ["ws:", "wss:"] : ["wss:"];
  if (!allowed.includes(url.protocol))
    throw refused(`has the scheme ${url.protocol} (${allowed.join(" or ")} expected)`);
  if (url.username !== "" || url.password !== "") throw refused("carries a user name");
  if (!DINGTALK_HOST.test(url.hostname) && url.hostname !== base.hostname) {
    throw refused(`is at ${url.hostname}, which is neither DingTalk nor ${base.hostname}`);
  }
  url.hash = "";
  url.searchParams.set("ticket", ticket);
  return url;
}

function refused(why: string): BridgeError {
  return new BridgeError("stream_bad_answer", `the WebSocket address that the open call gave ${why}`, {
    retryable: true,
    mend: "Check DINGTALK_API_BASE and whether a proxy changes the answers of DingTalk.",
  });
}
