import { tokensOf, type Account } from "../domain/account.ts";
import { CONTRACT } from "../domain/contract.ts";
import { type CheckName, type Finding, fine } from "../domain/finding.ts";
import { askGateway } from "../gateway/greeting.ts";
import { createGatewayDispatcher } from "../gateway/http.ts";

const TIMEOUT_MS = 8_000;
/** What each failure is about, beginning with what the others need. */
const ABOUT: Readonly<Record<string, CheckName>> = {
  plugin_missing: "plugin",
  contract_version: "plugin",
  gateway_token: "token",
  account: "app_key",
};

export interface GatewayChecks {
  url: URL;
  accounts: readonly Account[];
  sharedTokens: readonly string[];
  version: string;
  /** The plugin that came with this release. */
  shipped: { name: string; version: string } | undefined;
  insideContainer: boolean;
}

/** Gateway, plugin, the token there, and the App Keys, by the handshake of each account. */
export async function checkGateway(options: GatewayChecks, signal: AbortSignal): Promise<Finding[]> {
  const { url, accounts, sharedTokens, version, insideContainer } = options;
  const dispatcher = createGatewayDispatcher();
  const findings: Finding[] = [];
  try {
    for (const account of accounts) {
      const asked = { url, account, dispatcher, timeoutMs: TIMEOUT_MS, insideContainer, signal };
      const token = tokensOf(account, sharedTokens)[0] ?? "";
      const { health, plugin, dmPolicy } = await askGateway({
        ...asked,
        token,
        userAgent: `dingtalk-bridge/${version}`,
      });
      const check = health.code === undefined ? "app_key" : (ABOUT[health.code] ?? "gateway");
      if (findings.length === 0) findings.push(...common(check, plugin, options));
      const { name } = account;
      if (check === "app_key")
        findings.push(fine("token", "the gateway accepts this account's token", { account: name }));
      if (health.status === "ok") {
        const policy = dmPolicy === undefined || dmPolicy === "" ? "" : `; dmPolicy there is ${dmPolicy}`;
        findings.push(
          fine("app_key", `the plugin has this account, with the same App Key${policy}`, { account: name }),
        );
        continue;
      }
      const ofAccount = check === "token" || check === "app_key" ? { account: name } : {};
      const { code = "gateway_unreachable", detail = "", mend = "" } = health;
      findings.push({ check, code, level: "error", ...ofAccount, text: detail, mend });
      // What concerns the whole gateway is the same for every account.
      if (check === "gateway" || check === "plugin") break;
    }
  } finally {
    await dispatcher.close();
  }
  return findings;
}

/** What is known to be right, and the same for every account, when the first failure is about `check`. */
function common(
  check: CheckName,
  plugin: { name: string; version: string; host: string } | undefined,
  { url, shipped }: GatewayChecks,
): Finding[] {
  if (check === "gateway") return [];
  const findings: Finding[] = [fine("gateway", `${url.origin} answers`)];
  if (!plugin) return findings;
  const who = `${plugin.name} ${plugin.version} on ${plugin.host}`;
  if (shipped && plugin.name === shipped.name && plugin.version !== shipped.version) {
    findings.push({
      check: "plugin",
      code: "plugin_version",
      level: "note",
      text: `${who} speaks the same contract; this release came with ${shipped.version}`,
      mend: 'openclaw plugins install --force "$(dingtalk-bridge plugin-path)", then restart the gateway',
    });
  } else findings.push(fine("plugin", `${who}, contract ${CONTRACT}`));
  return findings;
}
