import type { DmPolicy } from "./accounts.ts";

/** Who is going to write to the robot. */
export type Audience = "me" | "team";

/** What `openclaw channels add` was told; a field that was not told is absent, an empty one is an empty string. */
export interface SetupInput {
  appKey?: string;
  appSecret?: string;
  bridgeUrl?: string;
  bridgeToken?: string;
  botName?: string;
  dmPolicy?: DmPolicy;
  audience?: Audience;
  /** The staffId of the person who may use commands. */
  owner?: string;
  restrictTools?: boolean;
  /** The credentials stay in DINGTALK_APP_KEY and DINGTALK_APP_SECRET. */
  useEnv?: boolean;
}

const CONSOLE = "open-dev.dingtalk.com > your app > 凭证与基础信息";
const MIN_TOKEN = 16;
const DM_POLICIES: readonly string[] = ["open", "pairing", "allowlist", "disabled"];

/**
 * Reads the flags. `clientId`, `clientSecret` and the flags that OpenClaw had for every channel before a channel could have its own
 * (`--app-token`, `--secret`, `--url`, `--token`) are other names for the same.
 */
export function readSetupInput(raw: object): SetupInput {
  const flags = raw as Record<string, unknown>;
  const said = (...names: string[]): string | undefined => {
    const value = names.map((name) => flags[name]).find((one) => typeof one === "string");
    return typeof value === "string" ? value.trim() : undefined;
  };
  const fields = {
    appKey: said("appKey", "clientId", "appToken"),
    appSecret: said("appSecret", "clientSecret", "secret"),
    bridgeUrl: said("bridgeUrl", "url", "httpUrl", "baseUrl"),
    bridgeToken: said("bridgeToken", "token"),
    botName: said("botName", "name"),
    dmPolicy: said("dmPolicy") as DmPolicy | undefined,
    audience: said("audience") as Audience | undefined,
    owner: said("owner")?.replace(/^(?:dingtalk:)?(?:user:)?/, ""),
    restrictTools: flags["restrictTools"] === true ? true : undefined,
    useEnv: flags["useEnv"] === true ? true : undefined,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as SetupInput;
}

/** The first thing that is wrong with what was told, as a sentence that names the field and the mend. */
export function problemOf(input: SetupInput): string | undefined {
  const { appKey, appSecret, bridgeUrl, bridgeToken, dmPolicy, audience, owner } = input;
  return (
    (appKey === undefined ? undefined : appKeyProblem(appKey)) ??
    (appSecret === undefined ? undefined : appSecretProblem(appSecret)) ??
    (bridgeUrl === undefined ? undefined : bridgeUrlProblem(bridgeUrl)) ??
    (bridgeToken === undefined ? undefined : bridgeTokenProblem(bridgeToken)) ??
    (owner === undefined ? undefined : ownerProblem(owner)) ??
    oneOf("dmPolicy", dmPolicy, DM_POLICIES) ??
    oneOf("audience", audience, ["me", "team"]) ??
    (owner && audience !== "team" ? "--owner goes with --audience team." : undefined) ??
    (input.restrictTools && audience !== "team" ? "--restrict-tools goes with --audience team." : undefined)
  );
}

export function appKeyProblem(value: string): string | undefined {
  if (value.trim() === "") return `The App Key is empty: copy it from ${CONSOLE} (Client ID).`;
  return /\s/.test(value.trim()) ? `The App Key has a space in it: copy it again from ${CONSOLE}.` : undefined;
}

export function appSecretProblem(value: string): string | undefined {
  if (value.trim() === "") return `The App Secret is empty: copy it from ${CONSOLE} (Client Secret).`;
  return /\s/.test(value.trim()) ? `The App Secret has a space in it: copy it again from ${CONSOLE}.` : undefined;
}

/** Empty is right: the default, or what stands there. */
export function bridgeUrlProblem(value: string): string | undefined {
  const address = value.trim();
  if (address === "") return undefined;
  const url = URL.parse(address);
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === "") {
    return `The bridge address "${address}" is not an http:// or https:// address such as http://127.0.0.1:8790.`;
  }
  return url.username || url.password || url.search || url.hash
    ? "The bridge address holds more than host, port and path: leave user name, password, ? and # out."
    : undefined;
}

/** Empty is right: the token is derived. */
export function bridgeTokenProblem(value: string): string | undefined {
  const tokens = value.trim() === "" ? [] : value.split(",").map((token) => token.trim());
  if (tokens.some((token) => /\s/.test(token))) return "The bridge token has a space in it.";
  return tokens.some((token) => token.length < MIN_TOKEN)
    ? `The bridge token is shorter than ${MIN_TOKEN} characters: use the bridge's BRIDGE_TOKEN, or leave it empty and both sides derive it from the App Secret.`
    : undefined;
}

/** Empty is right: nobody yet. */
export function ownerProblem(value: string): string | undefined {
  return /[\s*:,]/.test(value.trim())
    ? "The owner is one DingTalk user id (staffId) such as staff001, without spaces, colons or *."
    : undefined;
}

/** The bridge's rule for account names; OpenClaw allows longer ones. */
export function accountIdProblem(id: string): string | undefined {
  return /^[a-z0-9][a-z0-9_-]{0,31}$/.test(id)
    ? undefined
    : `The account id "${id}" is not possible: at most 32 small letters, digits, - and _, a letter or digit first.`;
}

function oneOf(name: string, value: string | undefined, values: readonly string[]): string | undefined {
  return value === undefined || values.includes(value) ? undefined : `${name} is one of ${values.join(", ")}.`;
}
