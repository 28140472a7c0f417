#!/bin/sh
# Entry point of the OpenClaw container. The first start sets OpenClaw up without questions: model, plugin, channel. Later ones
# install the plugin again when the image brings another one. Settings that are changed in OpenClaw afterwards stay as they are.
# With arguments it is the command `openclaw`.
set -eu
if [ "$#" -gt 0 ]; then exec openclaw "$@"; fi

state="$HOME/.openclaw"
plugin=$(ls /opt/dingtalk-bridge/*.tgz)

# Docker would start the container again and again: what is missing is said once.
stay() {
  echo "OpenClaw is not set up: $1" >&2
  echo "Nothing runs until this is mended. Then the same docker compose … up -d again." >&2
  exec sleep infinity
}

if [ ! -e "$state/openclaw.json" ]; then
  # The keys stay in the environment: OpenClaw's file refers to them by name.
  if [ -n "${MODEL_BASE_URL:-}" ]; then
    [ -n "${MODEL_ID:-}" ] || stay "MODEL_BASE_URL is set and MODEL_ID is not. Put the name of the model there."
    set -- --auth-choice custom-api-key --custom-base-url "$MODEL_BASE_URL" --custom-model-id "$MODEL_ID"
  elif [ -n "${MODEL_AUTH_CHOICE:-}" ]; then
    set -- --auth-choice "$MODEL_AUTH_CHOICE"
  else
    stay "no model is chosen. Set MODEL_AUTH_CHOICE and the key of that provider, or MODEL_BASE_URL, MODEL_ID and CUSTOM_API_KEY."
  fi
  if [ -n "${OPENCLAW_GATEWAY_TOKEN:-}" ]; then set -- "$@" --gateway-token-ref-env OPENCLAW_GATEWAY_TOKEN; fi
  openclaw onboard --non-interactive --accept-risk --mode local --secret-input-mode ref "$@" \
    --gateway-bind lan --gateway-auth token --no-install-daemon --skip-health --skip-ui --skip-channels --skip-skills --skip-search --skip-hooks \
    || { rm -f "$state/openclaw.json"; stay "its onboarding failed, see above."; }
fi

sum=$(sha256sum "$plugin" | cut -d ' ' -f 1)
if [ "$(cat "$state/dingtalk-bridge.plugin" 2>/dev/null || true)" != "$sum" ]; then
  openclaw plugins install --force --accept-capabilities "$plugin"
  echo "$sum" > "$state/dingtalk-bridge.plugin"
fi

if [ ! -e "$state/dingtalk-bridge.channel" ]; then
  openclaw config set gateway.controlUi.allowedOrigins '["http://127.0.0.1:18789", "http://localhost:18789"]' --strict-json
  openclaw channels add --channel dingtalk --use-env --bridge-url http://bridge:8790 \
    || stay "the DingTalk channel could not be added, see above."
  touch "$state/dingtalk-bridge.channel"
fi

exec openclaw gateway run
