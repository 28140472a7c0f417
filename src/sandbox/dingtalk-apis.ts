import type { ApiDefinition } from "./dingtalk-api.ts";
import { authApis } from "./dingtalk-apis-auth.ts";
import { sendApis } from "./dingtalk-apis-send.ts";
import { webhookApis } from "./dingtalk-apis-webhook.ts";

/** Every API that the simulator knows. */
export const allApis: readonly ApiDefinition[] = [...authApis, ...sendApis, ...webhookApis];
