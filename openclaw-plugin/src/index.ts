import { createRequire } from "node:module";
import { defineChannelPluginEntry } from "openclaw/plugin-sdk/channel-core";
import { CHANNEL } from "./accounts.ts";
import { createChannel } from "./channel.ts";
import { misfit } from "./compat.ts";
import { Hub } from "./hub.ts";
import { EVENTS_PATH, createRoute } from "./route.ts";

const { name, version } = createRequire(import.meta.url)("../package.json") as { name: string; version: string };

const hub = new Hub();
const env = process.env;

export default defineChannelPluginEntry({
  id: CHANNEL,
  name: "DingTalk (dingtalk-bridge)",
  description: "DingTalk robots through the dingtalk-bridge daemon",
  plugin: createChannel({ hub, env, userAgent: `${name}/${version}`, log: hub.log }),
  setRuntime: (runtime) => hub.attach(runtime),
  registerFull: (api) => {
    const reason = misfit(api.runtime);
    if (reason !== undefined) throw new Error(reason);
    hub.attach(api.runtime, api.logger);
    api.registerHttpRoute({
      path: EVENTS_PATH,
      auth: "plugin",
      match: "exact",
      handler: createRoute({
        hub,
        config: () => hub.config(),
        env,
        name,
        version,
        host: `openclaw/${api.runtime.version}`,
      }),
    });
  },
});
