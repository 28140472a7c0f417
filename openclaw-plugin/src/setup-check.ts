import type { OpenClawConfig } from "openclaw/plugin-sdk/channel-core";
import type { Account } from "./accounts.ts";
import { authorization, readJson, reasonOf, shownUrl, withTimeout } from "./bridge-http.ts";

const WITHIN_MS = 5_000;
const GATEWAY_PORT = 18_789;
const BRIDGE_PORT = "8790";

/** How the bridge answered to this account's token. */
export type BridgeCheck =
  | { state: "there"; version: string | undefined }
  | { state: "refused" }
  | { state: "other"; status: number }
  | { state: "away"; reason: string };

export async function checkBridge(account: Account, userAgent: string): Promise<BridgeCheck> {
  try {
    const response = await fetch(`${account.bridgeUrl}/v1/status`, {
      headers: authorization(account, userAgent),
      signal: withTimeout(undefined, WITHIN_MS),
    });
    if (response.status === 401 || response.status === 403) return { state: "refused" };
    const body = await readJson(response);
    if (!response.ok || !body) return { state: "other", status: response.status };
    return { state: "there", version: typeof body["version"] === "string" ? body["version"] : undefined };
  } catch (error) {
    const isLate = error instanceof Error && error.name === "TimeoutError";
    return { state: "away", reason: isLate ? `no answer within ${WITHIN_MS / 1000} s` : reasonOf(error) };
  }
}

/** The end of the set-up: what is there, and the next command. The last line is the command that is still missing. */
export function lastWords(cfg: OpenClawConfig, account: Account, check: BridgeCheck): string[] {
  const at = shownUrl(account);
  const { bridgeUrl } = account;
  if (!URL.canParse(bridgeUrl)) {
    return [
      `The bridge's address ${JSON.stringify(at)} is not of the form http://<host>:<port>: correct channels.dingtalk.bridgeUrl or BRIDGE_PUBLIC_URL.`,
    ];
  }
  const next = "Write to the robot in DingTalk; openclaw channels status shows how it stands.";
  if (check.state === "there")
    return [`The bridge at ${at} is there${check.version ? `, version ${check.version}` : ""}.`, next];
  if (check.state === "other") {
    return [
      `Something else answers at ${at} (HTTP ${check.status}): set bridgeUrl to the address of dingtalk-bridge, or start it on another port.`,
    ];
  }
  if (check.state === "refused") {
    return [
      `The bridge at ${at} does not take this account's token. It needs the same App Key and App Secret as channels.dingtalk, or the same BRIDGE_TOKEN as bridgeToken there. Then start it again:`,
      startCommand(cfg, account),
    ];
  }
  const where = isLocal(bridgeUrl) ? "" : ` on ${new URL(bridgeUrl).hostname}`;
  return [`No bridge answers at ${at} (${check.reason}). Start it${where}:`, startCommand(cfg, account)];
}

/** The bridge takes accounts from the same file; what it cannot find there it is told. */
function startCommand(cfg: OpenClawConfig, { bridgeUrl }: Account): string {
  const port = cfg.gateway?.port ?? GATEWAY_PORT;
  const gateway = port === GATEWAY_PORT ? "" : `BRIDGE_GATEWAY_URL=http://127.0.0.1:${port} `;
  const own = new URL(bridgeUrl);
  const flag =
    own.port === BRIDGE_PORT || !isLocal(bridgeUrl)
      ? ""
      : ` --port ${own.port || (own.protocol === "https:" ? 443 : 80)}`;
  return `${gateway}npx dingtalk-bridge start${flag}`;
}

function isLocal(address: string): boolean {
  return ["127.0.0.1", "localhost", "[::1]"].includes(new URL(address).hostname);
}
