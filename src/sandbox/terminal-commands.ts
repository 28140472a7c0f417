import type { PushHandle } from "./dingtalk-types.ts";
import type { Sandbox } from "./run.ts";
import type { Chat } from "./terminal-chat.ts";
import { control, CONTROLS_HELP } from "./terminal-controls.ts";
import { type PersonFile, readPersonFiles, wordsOf } from "./terminal-files.ts";
import type { Person } from "./terminal-person.ts";
import type { Screen } from "./terminal-screen.ts";
import { sizeText } from "./terminal-text.ts";

export const HELP = `Type as a DingTalk user. Lines that begin with "/" are what else a person does:
  /file <path> …    send a picture, a voice message, a video or a file; several pictures go together
  /quote <text>     answer the robot's last message
  /press <id>       use a control of the robot's last card
  /group [title]    speak in a group, @-ing the robot; /direct goes back
  /as <staffId>     be somebody else (staff001, staff002, …)
  /help
${CONTROLS_HELP}`;

/** What the scripted gateway does besides saying everything again. */
export const DEMO_HELP = `The scripted gateway repeats what you say, and shows more for these words:
  stream    流式    an answer that grows in a card; /stop ends it
  buttons   按钮    a message with buttons
  card      卡片    a card with controls for /press
  recall    撤回    a message that is taken back
  think     思考    a reaction while it thinks
`;

const GROUP = "测试群";

export interface Stage {
  sandbox: Sandbox;
  screen: Screen;
  chat: Chat;
  person: Person;
}

/** Does what one line asks for. What cannot be done is said on the screen. */
export async function obey(stage: Stage, line: string): Promise<void> {
  const text = line.trim();
  const [command = ""] = text.split(/\s/, 1);
  const rest = text.slice(command.length).trim();
  if (text === "") return;
  try {
    const push = await act(stage, command, rest, text);
    if (push) checkDelivered(stage.screen, push);
  } catch (error) {
    stage.screen.print(`(${(error as Error).message})`);
  }
}

/** Resolves with what was said or pressed; throws what the person should read. */
async function act(stage: Stage, command: string, rest: string, text: string): Promise<PushHandle | undefined> {
  const { sandbox, screen, person } = stage;
  switch (command) {
    case "/file":
      return sendFiles(stage, rest);
    case "/quote":
      return quote(stage, rest);
    case "/press":
      return press(stage, rest);
    case "/group":
    case "/direct":
      person.enter(command === "/direct" ? undefined : rest || GROUP);
      screen.print(`(${person.whereabouts})`);
      return undefined;
    case "/as":
    case ":as":
      if (rest === "") throw new Error(`who? ${command} <staffId>`);
      person.become(wordsOf(rest)[0] ?? rest);
      screen.print(`(${person.whereabouts})`);
      return undefined;
    case "/help":
      screen.print(sandbox.gateway ? `${HELP}${DEMO_HELP}` : HELP);
      return undefined;
    case ":group":
      return person.sayIn(GROUP, rest);
    default:
      if (control(sandbox, screen, command, rest)) return undefined;
      if (/^:[a-z]{2,}$/i.test(command)) throw new Error(`no such command: ${command}; /help lists them`);
      // What else begins with a slash is the gateway's to understand, and a second slash says that it is meant for it.
      return person.say(text.startsWith("//") ? text.slice(1) : text);
  }
}

async function sendFiles({ screen, person }: Stage, rest: string): Promise<PushHandle> {
  const paths = wordsOf(rest);
  if (paths.length === 0) throw new Error("which file? /file <path>");
  const files = await readPersonFiles(paths);
  const push = await person.sendFiles(files);
  showFiles(screen, files);
  return push;
}

async function quote({ chat, person }: Stage, text: string): Promise<PushHandle> {
  const last = chat.lastIn(person.conversationId);
  if (!last) throw new Error("the robot has said nothing here yet");
  if (text === "") throw new Error("what do you answer? /quote <text>");
  return person.quote(last, text);
}

async function press({ chat, person }: Stage, actionId: string): Promise<PushHandle> {
  const card = chat.lastCard;
  if (!card) throw new Error('there is no card yet; "card" makes the scripted gateway send one');
  if (actionId === "") throw new Error("which control? /press <actionId>");
  return person.press(card.outTrackId, actionId);
}

export function showFiles(screen: Screen, files: readonly PersonFile[]): void {
  for (const { kind, fileName, data } of files) screen.print(`you    > [${kind} ${fileName} ${sizeText(data.length)}]`);
}

/** Says why nobody will answer, when that is so. */
export function checkDelivered(screen: Screen, { delivered, reason }: PushHandle): void {
  if (delivered) return;
  screen.print(
    reason === "not_subscribed"
      ? "(the card tells nobody: it was not made for it, callbackType STREAM)"
      : "(the bridge is not connected just now; DingTalk does not send this message later)",
  );
}
