/** Where an account's fields come from; those with a variable make the account `main`. */
export const ACCOUNT_FIELDS = {
  appKey: {
    doc: "Client ID (App Key) of the app.",
    env: "DINGTALK_APP_KEY",
    aliases: ["DINGTALK_CLIENT_ID"],
    sensitive: true,
    example: "your-app-key",
  },
  appSecret: {
    doc: "Client Secret (App Secret) of the app.",
    env: "DINGTALK_APP_SECRET",
    aliases: ["DINGTALK_CLIENT_SECRET"],
    sensitive: true,
    example: "your-app-secret",
  },
  robotCode: {
    doc: "Code of the app's robot. Default: the App Key, which is right for a robot of an internal app.",
    env: "DINGTALK_ROBOT_CODE",
    aliases: [],
    sensitive: false,
    example: "your-robot-code",
  },
} as const;

/** Variables that say where files are. */
export const FILE_VARIABLES = {
  config: {
    doc: "JSON5 file with any of the settings below, several accounts included.",
    env: "BRIDGE_CONFIG",
    aliases: [],
    flag: "--config",
    example: "./config.json5",
  },
  openclaw: {
    doc: "OpenClaw's own file: accounts are read from `channels.dingtalk`. Default: `openclaw.json` in `OPENCLAW_STATE_DIR`, else in `~/.openclaw`, and only when no account is configured elsewhere.",
    env: "OPENCLAW_CONFIG",
    aliases: ["OPENCLAW_CONFIG_PATH"],
    flag: undefined,
    example: "~/.openclaw/openclaw.json",
  },
} as const;
