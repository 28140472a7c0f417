import { createInterface } from "node:readline/promises";
import type { Readable, Writable } from "node:stream";
import type { SentMessage } from "./dingtalk-types.ts";
import type { GatewayMode } from "./gateway-simulator.ts";
import { type Sandbox, type SandboxOptions, startSandbox } from "./run.ts";

export interface TerminalOptions extends SandboxOptions {
  /** Say this one thing, print the answer, end. */
  say?: string;
  input: Readable;
  output: Writable;
  /** Ends the sandbox (Ctrl-C). */
  signal: AbortSignal;
}

const ANSWER_WITHIN_MS = 30_000;
const GROUP = "测试群";

const HELP = `Type as a DingTalk user. Lines that begin with ":" are for the sandbox:
  :group <text>     say it in the group ${GROUP}, @-ing the robot
  :as <staffId>     be somebody else (staff001, staff002, …)
  :gateway <mode>   echo | slow | failing | held | silent   how the scripted gateway answers
  :disconnect       DingTalk announces that it will close the connection
  :cut              the connection breaks
  :expire           all reply webhooks expire (replies then go by the Open API)
  :status           what the bridge says of itself
  :log              where its log lines are
  :quit
`;

const MODES: Record<string, GatewayMode> = {
  echo: { kind: "echo" },
  slow: { kind: "slow", delayMs: 3_000 },
  failing: { kind: "answer", status: 500 },
  held: { kind: "held", times: 2, retryAfterS: 2 },
  silent: { kind: "silent" },
};

/** `npm run sandbox`. Resolves with the exit status. */
export async function runSandbox(options: TerminalOptions): Promise<number> {
  const print = (line: string): void => void options.output.write(`${line}\n`);
  const sandbox = await startSandbox(options);
  try {
    if (options.say !== undefined) return await sayOnce(sandbox, options.say, print);
    await converse(sandbox, options, print);
    return 0;
  } finally {
    await sandbox.close();
  }
}

async function sayOnce(sandbox: Sandbox, text: string, print: (line: string) => void): Promise<number> {
  const answer = sandbox.dingtalk.waitFor("sent", () => true, ANSWER_WITHIN_MS).catch(() => undefined);
  await sandbox.dingtalk.say({ text });
  print(`you    > ${text}`);
  const sent = await answer;
  if (!sent) {
    print(
      `no answer within ${ANSWER_WITHIN_MS / 1_000} s; the bridge says: ${JSON.stringify(sandbox.app.health(), null, 2)}`,
    );
    return 1;
  }
  print(show(sent));
  return 0;
}

async function converse(sandbox: Sandbox, options: TerminalOptions, print: (line: string) => void): Promise<void> {
  print(`DingTalk is simulated at ${sandbox.dingtalk.url}, the bridge listens at ${sandbox.bridgeUrl}`);
  if (!sandbox.gateway) {
    print(
      `Gateway: ${options.gatewayUrl}. Give its DingTalk channel App Key ${sandbox.appKey} and App Secret ${sandbox.appSecret}`,
    );
  }
  print(HELP);
  sandbox.dingtalk.events.on("sent", (sent) => print(show(sent)));
  const lines = createInterface({ input: options.input, terminal: false });
  const close = (): void => lines.close();
  options.signal.addEventListener("abort", close);
  let from = "staff001";
  for await (const line of lines) {
    const [command = "", ...rest] = line.trim().split(/\s+/);
    if (command === ":quit") break;
    if (command === ":as") from = rest[0] ?? from;
    else if (command.startsWith(":") && command !== ":group") await obey(sandbox, command, rest, print);
    else if (line.trim() !== "")
      await say(sandbox, command === ":group" ? rest.join(" ") : line.trim(), from, command === ":group", print);
  }
  options.signal.removeEventListener("abort", close);
  lines.close();
}

async function say(
  sandbox: Sandbox,
  text: string,
  from: string,
  group: boolean,
  print: (line: string) => void,
): Promise<void> {
  const push = await sandbox.dingtalk.say({ text, from, ...(group && { group: GROUP }) });
  if (!push.delivered) print("(the bridge is not connected just now; DingTalk does not send this message later)");
}

async function obey(sandbox: Sandbox, command: string, rest: string[], print: (line: string) => void): Promise<void> {
  switch (command) {
    case ":gateway": {
      const mode = MODES[rest[0] ?? ""];
      if (!sandbox.gateway) print("the gateway is your own");
      else if (mode) sandbox.gateway.mode = mode;
      else print(`modes: ${Object.keys(MODES).join(", ")}`);
      return;
    }
    case ":disconnect":
      sandbox.dingtalk.faults.disconnect({});
      return;
    case ":cut":
      sandbox.dingtalk.faults.abort();
      return;
    case ":expire":
      sandbox.dingtalk.faults.expireWebhooks();
      return;
    case ":status":
      print(JSON.stringify(sandbox.app.health(), null, 2));
      return;
    case ":log":
      print(sandbox.logFile);
      return;
    default:
      print(HELP);
  }
}

function show(sent: SentMessage): string {
  const where = sent.route === "group" || sent.conversationId === undefined ? ` (${sent.route})` : "";
  return `robot${where}  > ${sent.text.replaceAll("\n", "\n         ")}`;
}
