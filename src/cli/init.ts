import { existsSync } from "node:fs";
import { join } from "node:path";
import { BridgeError, type Config, loadConfig, verifyCredentials } from "../app.ts";
import { asTyped } from "./as-typed.ts";
import { type CliCommand, type CommandContext, CommandError, EXIT, UsageError } from "./command.ts";
import { type Questions, openQuestions } from "./init-ask.ts";
import { type Credentials, credentialsIn, namesOf, readEnvText, withCredentials, writeEnvFile } from "./init-file.ts";
import { ENV_FILE } from "./settings.ts";
import { readStdin } from "./stdin.ts";

interface InitOptions {
  appKey?: string;
  appSecretStdin?: boolean;
  force?: boolean;
  /** False with --no-verify. */
  verify: boolean;
}

const SECRET_MEND =
  "DINGTALK_APP_SECRET=… dingtalk-bridge init --app-key <Client ID>, or give the secret on stdin with --app-secret-stdin";
const WHERE = `Where they are: https://open-dev.dingtalk.com → 应用开发 → 钉钉应用 → the app →
基础信息 → 凭证与基础信息: Client ID (原 AppKey) and Client Secret (原 AppSecret), each with a copy icon.
No robot yet? docs/dingtalk-setup.md goes through the console click by click.
`;

export const initCommand: CliCommand<InitOptions> = {
  name: "init",
  summary: "ask for App Key and App Secret, check them, write .env",
  description:
    "Asks for the App Key (Client ID) and the App Secret (Client Secret) of the robot's app, has DingTalk check them, and writes them to .env in this directory, readable by you alone. Other lines of an existing .env stay.",
  examples: [
    ["dingtalk-bridge init", "in a terminal: asks for both"],
    ["DINGTALK_APP_SECRET=… dingtalk-bridge init --app-key dingabcd1234efgh5678", "in a script"],
    ["dingtalk-bridge init --app-key dingabcd1234efgh5678 --app-secret-stdin < secret.txt", "the same, from a file"],
  ],
  configure(command) {
    command
      .option("--app-key <key>", "App Key, also called Client ID (DINGTALK_APP_KEY)")
      .option("--app-secret-stdin", "read the App Secret from stdin (or set DINGTALK_APP_SECRET)")
      .option("--force", "replace what .env has already without asking")
      .option("--no-verify", "do not ask DingTalk whether they are right");
  },
  async run({ context, options }) {
    const path = join(context.cwd, ENV_FILE);
    const before = readEnvText(path);
    const questions = context.stdin.isTTY && !options.appSecretStdin ? await openQuestions(context) : undefined;
    const known = credentialsIn(before).find(({ name }) => name === "DINGTALK_APP_KEY")?.value;
    let credentials = await collect(context, options, questions && { ...questions, known });
    const replaces = await mayReplace(path, before, { credentials, options, questions });
    if (!replaces) throw new CommandError("nothing was written");
    if (options.verify) credentials = await verified(credentials, context, questions);
    writeEnvFile(path, withCredentials(before, credentials));
    context.stdout.write(closingWords(path, context));
    return EXIT.ok;
  },
};

async function collect(
  context: CommandContext,
  options: InitOptions,
  questions: (Questions & { known: string | undefined }) | undefined,
): Promise<Credentials> {
  const { env } = context;
  let appKey = (options.appKey ?? env["DINGTALK_APP_KEY"] ?? env["DINGTALK_CLIENT_ID"] ?? "").trim();
  let appSecret = (env["DINGTALK_APP_SECRET"] ?? env["DINGTALK_CLIENT_SECRET"] ?? "").trim();
  if (options.appSecretStdin) appSecret = (await readStdin(context)).trim();
  if (questions) {
    if (appKey === "" || appSecret === "") context.stderr.write(WHERE);
    if (appKey === "") appKey = await questions.text("App Key (Client ID):", questions.known);
    if (appSecret === "") appSecret = await questions.secret("App Secret (Client Secret, not shown):");
  }
  const missing = [...(appKey === "" ? ["the App Key"] : []), ...(appSecret === "" ? ["the App Secret"] : [])];
  if (missing.length > 0) {
    const what = missing.join(" and ");
    throw new UsageError(
      `${what} ${missing.length > 1 ? "are" : "is"} missing, and there is no terminal to ask`,
      SECRET_MEND,
    );
  }
  return { appKey, appSecret };
}

/** What stands there already is replaced only when somebody says so. False: somebody says no. */
async function mayReplace(
  path: string,
  text: string,
  {
    credentials,
    options,
    questions,
  }: { credentials: Credentials; options: InitOptions; questions: Questions | undefined },
): Promise<boolean> {
  const wanted = new Set(Object.values(credentials));
  const others = credentialsIn(text).filter(({ value }) => !wanted.has(value));
  if (others.length === 0 || options.force) return true;
  const names = others.map(({ name }) => name).join(", ");
  if (questions) return questions.agree(`${path} has ${names} already. Replace?`);
  throw new CommandError(`${path} has ${names} already, with another value`, {
    mend: "dingtalk-bridge init --force replaces it",
  });
}

/** The credentials once DingTalk takes them, or once somebody wants them written unchecked. */
async function verified(
  credentials: Credentials,
  context: CommandContext,
  questions: Questions | undefined,
): Promise<Credentials> {
  let current = credentials;
  for (;;) {
    context.stderr.write("Asking DingTalk …\n");
    const failure = await refusal(current, context);
    if (failure === undefined) {
      context.stderr.write("DingTalk accepts them.\n");
      return current;
    }
    if (failure.code !== "dingtalk_bad_credentials") {
      const unchecked = `DingTalk could not check them: ${failure.message}`;
      if (!questions)
        throw new CommandError(unchecked, { mend: "dingtalk-bridge init --no-verify writes them unchecked" });
      context.stderr.write(`${unchecked}\n`);
      if (await questions.agree("Write them unchecked?")) return current;
      throw new CommandError("nothing was written", { mend: failure.mend ?? "try again later" });
    }
    const refused = "DingTalk does not accept this App Key with this App Secret";
    if (!questions)
      throw new CommandError(refused, { mend: "copy both again with the console's copy icons: 凭证与基础信息" });
    context.stderr.write(
      `${refused} (${failure.message.split("; DingTalk: ").at(-1)}).\nCopy both again with the copy icons.\n`,
    );
    current = {
      appKey: await questions.text("App Key (Client ID):", current.appKey),
      appSecret: await questions.secret("App Secret (Client Secret, not shown):"),
    };
  }
}

/** Why DingTalk does not take them; undefined when it does. Throws ConfigError for what else is wrong in the settings. */
async function refusal(credentials: Credentials, context: CommandContext): Promise<BridgeError | undefined> {
  const { signal, version } = context;
  const { config, account } = settingsWith(credentials, context);
  try {
    await verifyCredentials(config, account, { version, signal });
    return undefined;
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof BridgeError) return thrown;
    throw thrown;
  }
}

/** The settings as they will be: host and proxy may be others than the usual ones. */
function settingsWith({ appKey, appSecret }: Credentials, { env, cwd }: CommandContext) {
  const names = new Set([...namesOf("appKey"), ...namesOf("appSecret")]);
  const others = Object.fromEntries(Object.entries(env).filter(([name]) => !names.has(name)));
  const { config } = loadConfig({
    env: { ...others, DINGTALK_APP_KEY: appKey, DINGTALK_APP_SECRET: appSecret },
    cwd,
    envFile: ENV_FILE,
  });
  const account = config.accounts.find((one) => one.appKey === appKey);
  if (!account) throw new CommandError("the settings have another App Key for the account main");
  return { config: config satisfies Config, account };
}

function closingWords(path: string, { cwd, host }: CommandContext): string {
  const inDocker = existsSync(join(cwd, "docker-compose.yml"));
  const steps = [
    ["dingtalk-bridge doctor", "checks what the bridge needs, before it runs"],
    ...(inDocker ? [["docker compose up -d --build", "starts it in Docker; or, without Docker:"]] : []),
    ["dingtalk-bridge start", "starts it"],
    ['openclaw plugins install --force "$(dingtalk-bridge plugin-path)"', ""],
  ].map(([line = "", does = ""]) => [asTyped(line, host.program), does] as const);
  const width = Math.max(...steps.map(([line, does]) => (does === "" ? 0 : line.length))) + 2;
  const lines = steps.map(([line, does]) => `  ${line.padEnd(width)}${does}`.trimEnd());
  return `${path} is written; only you can read it. It holds the App Secret: keep it out of version control.

Next:
${lines.join("\n")}
  ${" ".repeat(width)}the plugin, on the gateway's side; give it the same App Key and App Secret
`;
}
