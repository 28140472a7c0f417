import { listSettings } from "../../src/config-schema.ts";

/**
 * Every limit and budget of the configuration at its highest, as environment: for tests of what is not about limits. A limit
 * that is off unless set stays off.
 */
export function liftedLimits(): Record<string, string> {
  const lifted = listSettings().filter(
    ({ path, setting }) =>
      setting.format === "count" &&
      (path.startsWith("quota.") || (path.startsWith("limits.") && setting.default !== 0)),
  );
  return Object.fromEntries(lifted.map(({ setting }) => [setting.env, String(setting.max ?? 100_000)]));
}
