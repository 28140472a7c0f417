import type { ApiDefinition } from "./dingtalk-api.ts";
import { authApis } from "./dingtalk-apis-auth.ts";
import { cardApis } from "./dingtalk-apis-cards.ts";
import { emotionApis } from "./dingtalk-apis-emotion.ts";
import { mediaApis } from "./dingtalk-apis-media.ts";
import { recallApis } from "./dingtalk-apis-recall.ts";
import { sendApis } from "./dingtalk-apis-send.ts";
import { webhookApis } from "./dingtalk-apis-webhook.ts";

/** Every API that the simulator knows. */
export const allApis: readonly ApiDefinition[] = [
  ...authApis,
  ...sendApis,
  ...cardApis,
  ...emotionApis,
  ...webhookApis,
  ...mediaApis,
  ...recallApis,
];
