/** Plugins that may change or withhold what is sent, by the names of their hooks. */
const GUARDS = ["message_sending", "reply_payload_sending"] as const;

/**
 * Whether a text may be shown before it is finished. Not when another plugin decides over what is sent: it sees finished texts only. The
 * part of OpenClaw's SDK that tells is deprecated and may be gone; then nobody can be asked.
 */
export async function mayPreview(): Promise<boolean> {
  try {
    const { getGlobalHookRunner } = await import("openclaw/plugin-sdk/plugin-runtime");
    const hooks = getGlobalHookRunner();
    return !GUARDS.some((name) => hooks?.hasHooks(name) === true);
  } catch {
    return true;
  }
}
