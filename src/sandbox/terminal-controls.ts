import type { GatewayMode } from "./gateway-simulator.ts";
import type { Sandbox } from "./run.ts";
import type { Screen } from "./terminal-screen.ts";

const MODES: ReadonlyMap<string, GatewayMode> = new Map<string, GatewayMode>([
  ["demo", { kind: "demo" }],
  ["echo", { kind: "echo" }],
  ["slow", { kind: "slow", delayMs: 3_000 }],
  ["failing", { kind: "answer", status: 500 }],
  ["held", { kind: "held", times: 2, retryAfterS: 2 }],
  ["silent", { kind: "silent" }],
]);

export const CONTROLS_HELP = `Lines that begin with ":" are what happens around it:
  :gateway <mode>   ${[...MODES.keys()].join(" | ")}   how the scripted gateway answers
  :disconnect       DingTalk announces that it will close the connection
  :cut              the connection breaks
  :expire           all reply webhooks expire (replies then go by the Open API)
  :status           what the bridge says of itself
  :log              where its log lines are
  :quit
`;

/** Does what happens to DingTalk, the bridge or the gateway; false when there is no such command. */
export function control(sandbox: Sandbox, screen: Screen, command: string, rest: string): boolean {
  const { faults } = sandbox.dingtalk;
  switch (command) {
    case ":gateway": {
      const mode = MODES.get(rest);
      if (!sandbox.gateway) screen.print("the gateway is your own");
      else if (mode) sandbox.gateway.mode = mode;
      else screen.print(`modes: ${[...MODES.keys()].join(", ")}`);
      return true;
    }
    case ":disconnect":
      faults.disconnect({});
      return true;
    case ":cut":
      faults.abort();
      return true;
    case ":expire":
      faults.expireWebhooks();
      return true;
    case ":status":
      screen.print(JSON.stringify(sandbox.app.health(), null, 2));
      return true;
    case ":log":
      screen.print(sandbox.logFile);
      return true;
    default:
      return false;
  }
}
