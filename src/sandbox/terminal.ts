import { createInterface } from "node:readline/promises";
import type { Readable, Writable } from "node:stream";
import { type Sandbox, type SandboxOptions, startSandbox } from "./run.ts";
import { Chat } from "./terminal-chat.ts";
import { checkDelivered, DEMO_HELP, HELP, obey, showFiles, type Stage } from "./terminal-commands.ts";
import { FileProblem, type PersonFile, readPersonFiles } from "./terminal-files.ts";
import { answered, sayAll } from "./terminal-once.ts";
import { Person } from "./terminal-person.ts";
import { Screen } from "./terminal-screen.ts";

export interface TerminalOptions extends SandboxOptions {
  /** Say this one thing, print the answer, end. */
  say?: string;
  /** Paths of files to send, alone or with `say`: the same. */
  files?: readonly string[];
  /** How long an answer to `say` and `files`, or its next part, may take. Default 30 s. */
  answerWithinMs?: number;
  input: Readable;
  output: Writable;
  /** Ends the sandbox (Ctrl-C). */
  signal: AbortSignal;
}

const ANSWER_WITHIN_MS = 30_000;

/** `npm run sandbox`. Resolves with the exit status: 1 when a file cannot be sent, or no answer to `say` and `files` came. */
export async function runSandbox(options: TerminalOptions): Promise<number> {
  const { say, files: paths = [] } = options;
  const screen = new Screen(options.output);
  let files: PersonFile[];
  try {
    files = await readPersonFiles(paths);
  } catch (error) {
    if (!(error instanceof FileProblem)) throw error;
    screen.print(error.message);
    return 1;
  }
  const sandbox = await startSandbox(options);
  try {
    const { dingtalk, appKey } = sandbox;
    const person = new Person(dingtalk, appKey);
    const chat = new Chat(dingtalk, screen, (conversationId) => person.labelOf(conversationId));
    const stage = { sandbox, screen, chat, person };
    if (say !== undefined || files.length > 0) return await sayOnce(stage, say, files, options);
    await converse(stage, options);
    return 0;
  } finally {
    await sandbox.close();
  }
}

async function sayOnce(
  { sandbox, screen, chat, person }: Stage,
  text: string | undefined,
  files: readonly PersonFile[],
  { signal, answerWithinMs: withinMs = ANSWER_WITHIN_MS }: TerminalOptions,
): Promise<number> {
  if (text !== undefined) screen.print(`you    > ${text}`);
  showFiles(screen, files);
  const pushes = await sayAll(person, text, files);
  for (const push of pushes) checkDelivered(screen, push);
  if (await answered(sandbox, chat, { before: 0, withinMs, signal })) return 0;
  if (signal.aborted) return 1;
  const health = JSON.stringify(sandbox.app.health(), null, 2);
  screen.print(
    `${chat.shown === 0 ? "no answer" : "the answer has no end"}: ${withinMs / 1_000} s without a sign; the bridge says: ${health}`,
  );
  return 1;
}

async function converse(stage: Stage, options: TerminalOptions): Promise<void> {
  const { sandbox, screen, chat, person } = stage;
  introduce(sandbox, screen, options.gatewayUrl);
  const lines = createInterface({ input: options.input, terminal: false });
  const close = (): void => lines.close();
  options.signal.addEventListener("abort", close);
  let isQuit = false;
  /** What was shown before the last thing that the person did in a chat. */
  let before: number | undefined;
  for await (const line of lines) {
    isQuit = line.trim() === ":quit";
    if (isQuit) break;
    const { said } = person;
    const { shown } = chat;
    await obey(stage, line);
    if (person.said > said) before = shown;
  }
  options.signal.removeEventListener("abort", close);
  lines.close();
  // At the end of a pipe nobody sits who could wait for the last answer.
  const isPerson = "isTTY" in options.input && options.input.isTTY === true;
  if (!isQuit && !isPerson && before !== undefined) {
    await answered(sandbox, chat, { before, withinMs: ANSWER_WITHIN_MS, signal: options.signal });
  }
}

function introduce(sandbox: Sandbox, screen: Screen, gatewayUrl: string | undefined): void {
  const { dingtalk, bridgeUrl, gateway, appKey, appSecret } = sandbox;
  screen.print(`DingTalk is simulated at ${dingtalk.url}, the bridge listens at ${bridgeUrl}`);
  if (gateway) screen.print(`${HELP}${DEMO_HELP}`);
  else {
    screen.print(`Gateway: ${gatewayUrl}. Give its DingTalk channel App Key ${appKey} and App Secret ${appSecret}`);
    screen.print(HELP);
  }
}
