import type { Config } from "./config.ts";
import type { Account } from "./domain/account.ts";
import { type CheckName, type Finding, fine, skipped } from "./domain/finding.ts";
import { checkCards, checkCredentials, checkRobot, checkStream } from "./flows/doctor-account.ts";
import {
  type BridgeStatus,
  type Standing,
  bridgeFindings,
  callsFinding,
  deadLettersFinding,
  lookAtBridge,
  streamFinding,
} from "./flows/doctor-bridge.ts";
import { type AccountDesk, DingtalkDesk } from "./flows/doctor-dingtalk.ts";
import { checkGateway } from "./flows/doctor-gateway.ts";
import { checkDataDir, checkNode } from "./flows/doctor-local.ts";
import { checkDns, checkNetwork, checkProxy } from "./flows/doctor-network.ts";
import { quotaFindings } from "./flows/doctor-quota.ts";
import type { DoctorCheck } from "./flows/doctor-run.ts";
import { checkSending } from "./flows/doctor-send.ts";
import { storedQuota } from "./flows/quota-stored.ts";
import { type Clock, systemClock } from "./ops/clock.ts";

/**
 * Asks DingTalk for an access token with the account's credentials. Throws BridgeError `dingtalk_bad_credentials` when DingTalk
 * refuses them; anything else (`dingtalk_unreachable`, `dingtalk_ip_not_allowed`, …) says nothing about them.
 */
export async function verifyCredentials(
  config: Config,
  account: Account,
  { version, signal }: { version: string; signal: AbortSignal },
): Promise<void> {
  const desk = new DingtalkDesk({ ...config.dingtalk, proxy: config.proxy, version });
  try {
    await desk.account(account).token(signal);
  } finally {
    await desk.close();
  }
}

export interface DoctorOptions {
  version: string;
  nodeVersion: string;
  /** Who runs this, where the system has users. */
  user: number | undefined;
  insideContainer: boolean;
  /** The plugin that came with this release. */
  shipped: { name: string; version: string } | undefined;
  /** Proxy variables that are set and that the bridge does not read. */
  otherProxies: readonly string[];
  /** This account only. */
  account?: string | undefined;
  /** Nothing that leaves this machine. */
  offline?: boolean | undefined;
  /** Whether a Stream connection may be opened. */
  connect: boolean;
  /** To whom a test message goes: a staffId. */
  send?: string | undefined;
  clock?: Clock | undefined;
  signal: AbortSignal;
}

/** Everything that the doctor looks at, ready to run; what one check finds out, others build on. `close` when all have run. */
export function createDoctor(
  config: Config,
  options: DoctorOptions,
): { checks: DoctorCheck[]; close: () => Promise<void> } {
  const { version, signal, clock = systemClock } = options;
  const desk = new DingtalkDesk({ ...config.dingtalk, proxy: config.proxy, version });
  const accounts = config.accounts.filter(
    ({ enabled, name }) => enabled && (options.account === undefined || options.account === name),
  );
  const shared = { accounts, sharedTokens: config.tokens, version };
  const here = { ...shared, server: config.server, dataDir: config.dataDir };
  const network = { bases: [config.dingtalk.apiBase, config.dingtalk.oapiBase], proxy: config.proxy, desk, clock };
  const { otherProxies } = options;

  const standing = once(() => lookAtBridge(here, signal));
  const reached = once(() => checkNetwork({ ...network, otherProxies }, signal));
  const check = (name: CheckName, run: () => Promise<Finding[]>, account?: string): DoctorCheck => ({
    name,
    run,
    ...(account !== undefined && { account }),
  });

  const local: DoctorCheck[] = [
    check("node", () => Promise.resolve([checkNode(options.nodeVersion)])),
    check("data_dir", () => checkDataDir(config.dataDir, config.disk.minFreeMb, options.user)),
    check("bridge", async () => bridgeFindings(await standing(), here)),
    check("proxy", () => Promise.resolve(checkProxy({ ...network, otherProxies }))),
    check("quota", async () => quotaOf(await standing(), config, clock.now())),
    check("dead_letters", async () => firstStatus(await standing(), (status) => [deadLettersFinding(status)])),
    check("alerts", () => Promise.resolve([alertsFinding(config)])),
  ];
  const close = (): Promise<void> => desk.close();
  if (options.offline) return { checks: local, close };

  const outside: DoctorCheck[] = [
    check("dns", () => checkDns({ ...network, otherProxies })),
    check("network", reached),
    check("gateway", () => {
      const url = new URL(config.gateway.eventsPath, config.gateway.url);
      return checkGateway(
        { ...shared, url, shipped: options.shipped, insideContainer: options.insideContainer },
        signal,
      );
    }),
    ...accounts.flatMap((account) => {
      const { name } = account;
      const its = { account, desk: desk.account(account) };
      const credentials = once(async () => {
        const isAway = (await reached()).some(({ level }) => level === "error");
        if (isAway) return skipped("credentials", "DingTalk cannot be reached", { account: name });
        return checkCredentials(its, signal);
      });
      const withCredentials = async (names: CheckName[], run: () => Promise<Finding[]>): Promise<Finding[]> => {
        if ((await credentials()).level === "ok") return run();
        return names.map((one) => skipped(one, "credentials come first", { account: name }));
      };
      return [
        check("credentials", async () => [await credentials()], name),
        check(
          "stream",
          async () => {
            const known = streamOf(await standing(), name, options.connect);
            return known ? [known] : withCredentials(["stream"], async () => [await checkStream(its, signal)]);
          },
          name,
        ),
        check("robot", () => withCredentials(["robot", "permission"], () => checkRobot(its, signal)), name),
        check("card_template", () => withCredentials(["card_template"], () => checkCards(its, signal)), name),
        check(
          "gateway_calls",
          async () => statusOf(await standing(), name, (status) => [callsFinding(status, name)]),
          name,
        ),
      ];
    }),
  ];
  const [first] = accounts;
  if (options.send !== undefined && first) outside.push(sending(options.send, first, desk.account(first)));
  return { checks: [...local, ...outside], close };

  function sending(staffId: string, account: Account, itsDesk: AccountDesk): DoctorCheck {
    const more = { staffId, account, sharedTokens: config.tokens, language: config.language, desk: itsDesk };
    return check(
      "send",
      async () => [await checkSending({ ...more, standing: await standing() }, signal)],
      account.name,
    );
  }
}

/** Undefined: nothing runs here that would lose messages to a second connection. */
function streamOf(standing: Standing, account: string, connect: boolean): Finding | undefined {
  const status = standing.kind === "running" ? standing.statuses.get(account) : undefined;
  if (status) return streamFinding(status, account);
  const skip = (why: string): Finding => skipped("stream", why, { account });
  if (standing.kind === "hidden")
    return skip("a bridge runs here, and a second connection would take messages from it");
  if (standing.kind === "running")
    return skip("the running bridge may be connected with other credentials of this robot");
  return connect ? undefined : skip("no connection was wanted (--no-connect)");
}

function statusOf(standing: Standing, account: string, read: (status: BridgeStatus) => Finding[]): Finding[] {
  const status = standing.kind === "running" ? standing.statuses.get(account) : undefined;
  return status ? read(status) : [skipped("gateway_calls", "no bridge runs here that knows this account", { account })];
}

function firstStatus(standing: Standing, read: (status: BridgeStatus) => Finding[]): Finding[] {
  const [status] = standing.kind === "running" ? standing.statuses.values() : [];
  return status ? read(status) : [skipped("dead_letters", "no bridge runs here that could be asked")];
}

function quotaOf(standing: Standing, config: Config, now: number): Finding[] {
  const [status] = standing.kind === "running" ? standing.statuses.values() : [];
  try {
    return quotaFindings(status?.quota ?? storedQuota(config, now));
  } catch {
    return [skipped("quota", "the data directory cannot be read by this user")];
  }
}

function alertsFinding({ alerts }: Config): Finding {
  const { to } = alerts;
  if (to.length > 0) return fine("alerts", `${to.join(", ")} is told what an operator has to know`);
  const text = "nobody is told when credentials are refused, the gateway is away, or a message could not be delivered";
  return { check: "alerts", code: "alerts_off", level: "note", text, mend: "set BRIDGE_ALERTS_TO=user:<staffId>" };
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => (result ??= work());
}
