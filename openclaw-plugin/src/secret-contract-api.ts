import {
  collectSimpleChannelFieldAssignments,
  getChannelSurface,
} from "openclaw/plugin-sdk/channel-secret-basic-runtime";
import { CHANNEL } from "./accounts.ts";

/*
 * What OpenClaw may resolve when a secret is written as a SecretRef ({ source, provider, id }). OpenClaw finds this file by its name,
 * beside the entry or in dist/, and loads it apart from the plugin: where it cannot be loaded, the plugin still runs.
 */
const FIELDS = ["appSecret", "clientSecret", "bridgeToken"];

export const secretTargetRegistryEntries = FIELDS.flatMap((field) => [
  registryEntry(`channels.${CHANNEL}.accounts.*.${field}`),
  registryEntry(`channels.${CHANNEL}.${field}`),
]);

type Collect = Omit<Parameters<typeof collectSimpleChannelFieldAssignments>[0], "channelKey" | "field">;

export function collectRuntimeConfigAssignments({
  config,
  defaults,
  context,
}: Pick<Collect, "defaults" | "context"> & { config: { channels?: Record<string, unknown> } }): void {
  const found = getChannelSurface(config, CHANNEL);
  if (!found) return;
  for (const field of FIELDS) {
    collectSimpleChannelFieldAssignments({
      channelKey: CHANNEL,
      field,
      ...found,
      defaults,
      context,
      topInactiveReason: `no enabled DingTalk account takes ${field} from channels.${CHANNEL}`,
      accountInactiveReason: "the DingTalk account is disabled",
    });
  }
}

function registryEntry(path: string) {
  return {
    id: path,
    targetType: path,
    configFile: "openclaw.json",
    pathPattern: path,
    secretShape: "secret_input",
    expectedResolvedValue: "string",
    includeInPlan: true,
    includeInConfigure: true,
    includeInAudit: true,
  } as const;
}
