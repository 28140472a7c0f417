import type { CliCommand } from "./command.ts";
import { configCommand } from "./config.ts";
import { doctorCommand } from "./doctor.ts";
import { initCommand } from "./init.ts";
import { pluginPathCommand } from "./plugin-path.ts";
import { deadLettersCommand } from "./dead-letters.ts";
import { eraseCommand } from "./erase.ts";
import { quotaCommand } from "./quota.ts";
import { sandboxCommand } from "./sandbox.ts";
import { sendCommand } from "./send.ts";
import { startCommand } from "./start.ts";
import { tokenCommand } from "./token.ts";
import { traceCommand } from "./trace.ts";

/** Every command, in the order of the help. The first is meant when none is named. */
export const COMMANDS: readonly CliCommand[] = [
  startCommand,
  initCommand,
  doctorCommand,
  sandboxCommand,
  configCommand,
  traceCommand,
  sendCommand,
  deadLettersCommand,
  eraseCommand,
  tokenCommand,
  pluginPathCommand,
  quotaCommand,
];
