import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { coerceError } from "../domain/errors.ts";
import { BridgeApi, type Caller } from "./bridge.ts";
import { type CliCommand, type CommandContext, CommandError, EXIT, UsageError } from "./command.ts";
import { type SettingsOptions, addSettingsOptions, loadSettings } from "./settings.ts";
import { tellWhenSlow } from "./slow.ts";
import { readStdin } from "./stdin.ts";

interface Options extends SettingsOptions {
  to?: string;
  text?: string;
  markdown?: string;
  file?: string;
  account?: string;
  wait?: string;
  json?: boolean;
}

/** What the API says of a message. */
interface Sent {
  id: string;
  status: "queued" | "sending" | "retrying" | "delivered" | "cancelled" | "dead";
  parts?: { route: string; at: string }[];
  uncertain?: boolean;
  error?: { code: string; detail: string };
}

const WAIT_S = 30;
/** The API waits no longer in one call. */
const LONGEST_WAIT_S = 60;
const UPLOAD_MS = 120_000;

export const sendCommand: CliCommand<Options> = {
  name: "send",
  summary: "send a message to a person or a conversation, through the running bridge",
  description:
    "Sends a text or a file through the running bridge, with its limits and retries, and says what became of it. Status 0: delivered; 1: not delivered (yet), refused, or no bridge.",
  examples: [
    ['dingtalk-bridge send --to user:staff001 --text "部署完成"', "to a person"],
    ["dingtalk-bridge send --to conversation:cidXYZ== --file report.pdf", "a file to a group"],
    ["echo hello | dingtalk-bridge send --to user:staff001 --text -", "the text from standard input"],
  ],
  configure(command) {
    command
      .requiredOption("--to <whom>", "user:<staffId> or conversation:<id>")
      .option("--text <text>", "plain text; - reads standard input")
      .option("--markdown <text>", "DingTalk's Markdown; - reads standard input")
      .option("--file <path>", "a picture, voice message, video or file; a text becomes its caption")
      .option("--account <name>", "which robot, where several are configured")
      .option("--wait <seconds>", `how long to wait for the delivery, 0 to ${LONGEST_WAIT_S} (${WAIT_S})`)
      .option("--json", "the bridge's answer");
    addSettingsOptions(command);
  },
  async run({ context, options }) {
    const { to = "", account } = options;
    if (!/^(user|conversation):\S+$/.test(to)) {
      throw new UsageError(
        "--to is not user:<staffId> or conversation:<id>",
        "dingtalk-bridge trace --last 5 shows the ids of those who wrote",
      );
    }
    const waitS = secondsOf(options.wait);
    const words = await wordsOf(options, context);
    const { config } = loadSettings(context, options);
    const api = new BridgeApi(config, context.signal);
    const [caller, ...others] = api.callers(account);
    if (!caller || others.length > 0) {
      const names = [caller, ...others].map((one) => one?.account).join(", ");
      throw new UsageError(`which robot sends it? --account is one of ${names}`);
    }
    const { stderr } = context;
    const { file } = options;
    const content =
      file === undefined
        ? words
        : await tellWhenSlow(stderr, "still handing the file to the bridge", () =>
            fileContent(file, words, api, caller),
          );
    const { status, body } = await tellWhenSlow(stderr, `waiting up to ${waitS} s for the delivery`, () =>
      api.call("/v1/messages", caller, {
        method: "POST",
        headers: { "idempotency-key": `cli/${randomUUID()}`, ...(waitS > 0 && { prefer: `wait=${waitS}` }) },
        body: { to, content, ...(account !== undefined && { account }) },
        withinMs: waitS * 1_000 + 10_000,
      }),
    );
    if (status >= 400) throw api.refusal(status, body);
    const sent = body as Sent;
    if (options.json) context.stdout.write(`${JSON.stringify(sent)}\n`);
    else context.stdout.write(outcomeText(sent, waitS));
    return sent.status === "delivered" || (waitS === 0 && sent.status !== "dead") ? EXIT.ok : EXIT.failed;
  },
};

function secondsOf(given = String(WAIT_S)): number {
  if (/^\d{1,2}$/.test(given) && Number(given) <= LONGEST_WAIT_S) return Number(given);
  throw new UsageError(`--wait is not a number of seconds from 0 to ${LONGEST_WAIT_S}`);
}

/** The text as content; empty when only a file is sent. */
async function wordsOf(
  options: Options,
  context: CommandContext,
): Promise<{ type: "text" | "markdown"; text: string }> {
  const { text, markdown, file } = options;
  if (text !== undefined && markdown !== undefined)
    throw new UsageError("--text and --markdown are both given: one is enough");
  const given = markdown ?? text;
  if (given === undefined && file === undefined)
    throw new UsageError("there is nothing to send: give --text, --markdown or --file");
  const words = given === "-" ? (await readStdin(context)).trimEnd() : (given ?? "");
  if (words === "" && file === undefined) throw new UsageError("the text is empty");
  return { type: markdown === undefined ? "text" : "markdown", text: words };
}

async function fileContent(path: string, { text }: { text: string }, api: BridgeApi, caller: Caller): Promise<object> {
  const form = new FormData();
  if (caller.account !== undefined) form.append("account", caller.account);
  form.append("file", new Blob([Uint8Array.from(await bytesOf(path))]), basename(path));
  const call = { method: "POST", body: form, withinMs: UPLOAD_MS } as const;
  const { id, mimeType } = (await api.must("/v1/media", caller, call)) as { id: string; mimeType: string };
  const [kind = ""] = mimeType.split("/");
  // DingTalk plays these two as voice, and nothing else (design §8).
  const isVoice = mimeType === "audio/ogg" || mimeType === "audio/amr";
  const type = kind === "image" || kind === "video" ? kind : isVoice ? "audio" : "file";
  return {
    type,
    media: { id },
    ...(type === "file" && { fileName: basename(path) }),
    ...(text !== "" && { caption: text }),
  };
}

async function bytesOf(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (thrown) {
    const { code = "unknown reason" } = coerceError(thrown) as NodeJS.ErrnoException;
    const why = { ENOENT: "it does not exist", EACCES: "this user may not read it", EISDIR: "it is a directory" }[code];
    throw new CommandError(`${JSON.stringify(path)} cannot be read: ${why ?? code}`);
  }
}

function outcomeText({ id, status, parts = [], uncertain, error }: Sent, waitS: number): string {
  const why = error ? `: ${error.code} ${error.detail}` : "";
  const trace = `dingtalk-bridge trace ${id}`;
  switch (status) {
    case "delivered": {
      const routes = [...new Set(parts.map(({ route }) => route))].join(" and ");
      const doubt = uncertain ? "\n  an attempt had no answer: it may appear twice" : "";
      return `delivered by ${routes} (${id})${doubt}\n`;
    }
    case "dead":
      return `failed${why}\n  mend: ${mendOf(error?.code)}\n  its life: ${trace}\n  once more: dingtalk-bridge dead-letters replay ${id}\n`;
    case "cancelled":
      return `cancelled${why} (${id})\n`;
    default:
      return waitS === 0
        ? `queued (${id})\n  its life: ${trace}\n`
        : `queued: not delivered within ${waitS} s${why} (${id})\n  the bridge goes on trying; its life: ${trace}\n`;
  }
}

function mendOf(code = ""): string {
  switch (code) {
    case "no_route":
      return "the person or the group has to write to the robot first, or give user:<staffId>";
    case "recipient_unknown":
      return "check the id (case-sensitive), and that the robot's visible range includes the person: docs/dingtalk-setup.md";
    case "dingtalk_permission_missing":
      return "give the app the permission qyapi_robot_sendmsg on open-dev.dingtalk.com";
    case "dingtalk_quota_exhausted":
    case "quota_exhausted":
      return "the month's quota is used up: dingtalk-bridge quota";
    case "dingtalk_bad_credentials":
      return "copy Client ID and Client Secret from the console again";
    default:
      return "the reason is DingTalk's or the file's own";
  }
}
