import { CONTRACT_VERSION } from "./types.ts";

export const CONTRACT_HEADER = "x-bridge-contract";

/** The other side speaks another version of the contract. */
export interface ContractMismatch {
  detail: string;
  /** What to do about it. */
  mend: string;
}

export const PLUGIN_INSTALL = 'openclaw plugins install --force "$(npx dingtalk-bridge plugin-path)"';

/**
 * Reads the bridge's `X-Bridge-Contract`. Undefined when both speak the same major version, and when there is no header: bridges from
 * before it speak version 1.
 */
export function contractMismatch(header: string | string[] | null | undefined): ContractMismatch | undefined {
  const theirs = [header ?? []].flat().join(", ").trim();
  if (theirs === "") return undefined;
  const major = /^(\d{1,6})(?:\.\d+)*$/.exec(theirs)?.[1];
  if (Number(major) === CONTRACT_VERSION) return undefined;
  return {
    detail: `the bridge speaks contract ${JSON.stringify(theirs.slice(0, 40))}, this plugin ${CONTRACT_VERSION}`,
    mend:
      Number(major) < CONTRACT_VERSION
        ? "update dingtalk-bridge to the version that this plugin came with"
        : `install the plugin that came with this bridge: ${PLUGIN_INSTALL}`,
  };
}
