import { defineSetupPluginEntry } from "openclaw/plugin-sdk/channel-core";
import { createChannel } from "./channel.ts";
import { Hub } from "./hub.ts";

const hub = new Hub();

/**
 * The channel for commands that only look at it: without this entry `openclaw security audit`, `openclaw doctor` and others know no more of
 * an installed channel than its manifest.
 */
export default defineSetupPluginEntry(
  createChannel({ hub, env: process.env, userAgent: "openclaw-channel-dingtalk-bridge", log: hub.log }),
);
