import { describeFormat, formatDuration } from "../../src/config-formats.ts";
import { type Setting, SCHEMA, listSettings } from "../../src/config-schema.ts";
import { ACCOUNT_FIELDS, FILE_VARIABLES } from "../../src/config-variables.ts";

const GENERATED = "Made from src/config-schema.ts by scripts/generate.ts: change it there.";
const WIDTH = 110;

interface Variable {
  doc: string;
  env: string;
  aliases?: readonly string[];
  sensitive?: boolean;
}

/** `config/default.json5`: every setting with its default. Loaded as it stands it changes nothing. */
export function defaultJson5(): string {
  const accounts = [
    "Robots by name. `main` is the one that DINGTALK_APP_KEY and DINGTALK_APP_SECRET set, and OpenClaw's `default`.",
    'accounts: { main: { appKey: "your-app-key", appSecretFile: "./secrets/main", enabled: true } },',
  ];
  const lines = [...comment(accounts[0] ?? "", "  "), `  // ${accounts[1] ?? ""}`, "", ...groupJson5(SCHEMA, "  ")];
  const head = [...comment(`Every setting of dingtalk-bridge with its default. ${GENERATED}`), ...comment(HOW_TO_USE)];
  return [...head, "{", ...lines, "}", ""].join("\n");
}

const HOW_TO_USE =
  "To use a copy of it, name that by BRIDGE_CONFIG or --config; it may leave out whatever stays as it is. Environment variables go before the file.";

function groupJson5(node: object, indent: string): string[] {
  return Object.entries(node).flatMap(([key, child]: [string, Setting | object]) => {
    if (!("default" in child)) return [`${indent}${key}: {`, ...groupJson5(child, `${indent}  `), `${indent}},`];
    const value = child.default === undefined ? child.example : fileDefault(child);
    const line = `${key}: ${JSON.stringify(value)},`;
    return [
      ...comment(`${meaning(child)} Variable: ${child.env}.`, indent),
      child.default === undefined ? `${indent}// ${line}` : `${indent}${line}`,
    ];
  });
}

/** `.env.example`: two variables to fill in, all others commented out with their defaults. */
export function envExample(): string {
  const { appKey, appSecret, robotCode } = ACCOUNT_FIELDS;
  const variables: [Variable, string | undefined][] = [
    [robotCode, robotCode.example],
    ...Object.values(FILE_VARIABLES).map((file): [Variable, string] => [file, file.example]),
    ...listSettings().map(({ setting }): [Variable, string | undefined] => [setting, shownDefault(setting)]),
  ];
  return [
    ...hash(
      "Copy to .env. The first two are needed, unless another source gives an account; docs/configuration.md has everything.",
    ),
    ...hash(GENERATED),
    "",
    ...hash(describeVariable(appKey)),
    `${appKey.env}=${appKey.example}`,
    ...hash(describeVariable(appSecret)),
    `${appSecret.env}=${appSecret.example}`,
    ...variables.flatMap(([variable, value]) => [
      "",
      ...hash(describeVariable(variable)),
      `#${variable.env}=${value ?? ""}`,
    ]),
    "",
  ].join("\n");
}

function describeVariable({ doc, aliases = [], env, sensitive = false }: Variable): string {
  const others = [...aliases, ...(sensitive ? [`${env}_FILE (a file that holds it)`] : [])];
  return others.length === 0 ? doc : `${doc} Also: ${others.join(", ")}.`;
}

/** `config/example.accounts.json5`: two robots at one gateway. */
export function accountsExample(): string {
  return `// Two robots at one gateway. Use it with BRIDGE_CONFIG or --config; docs/configuration.md has all settings.
{
  accounts: {
    main: {
      appKey: "dingabcd1234efgh5678",
      // The secret stands in a file of its own, which nobody else may read.
      appSecretFile: "./secrets/main",
    },
    support: {
      appKey: "dingijkl1234mnop5678",
      appSecretFile: "./secrets/support",
      // Only where it differs from the App Key:
      robotCode: "dingijkl1234mnop5678",
    },
  },
  gateway: { url: "http://127.0.0.1:18789", timeoutMs: "30s" },
  delivery: { onUncertain: "hold" },
}
`;
}

/** `docs/configuration.md`. */
export function configurationMarkdown(): string {
  const accountRows = Object.entries(ACCOUNT_FIELDS).map(([key, field]) =>
    row([
      `\`accounts.<name>.${key}\``,
      names(field),
      field.env === "DINGTALK_ROBOT_CODE" ? "the App Key" : "–",
      field.doc,
    ]),
  );
  const fileRows = Object.values(FILE_VARIABLES).map((file) =>
    row([file.flag === undefined ? "–" : `\`${file.flag}\``, names(file), file.doc]),
  );
  const rows = listSettings().map(({ path, setting }) => {
    const shown = setting.default === undefined ? "–" : `\`${String(fileDefault(setting))}\``;
    const flag = setting.flag === undefined ? "" : `, \`${setting.flag}\``;
    return row([`\`${path}\``, `${names(setting)}${flag}`, shown, meaning(setting)]);
  });
  return `<!-- ${GENERATED} -->

# Configuration

Two variables are enough beside a gateway with default settings: \`${ACCOUNT_FIELDS.appKey.env}\` and \`${ACCOUNT_FIELDS.appSecret.env}\`, the
Client ID and Client Secret of the app (open-dev.dingtalk.com → the app → 凭证与基础信息).

Whatever is missing or wrong is named at the start, all of it at once, each with what to do; the exit code is 78 and nothing has
been started. An unknown setting in a file is such a problem too. Values of secrets are never printed.

## Where settings come from

Flags go before environment variables, these before the file of \`BRIDGE_CONFIG\`, that before OpenClaw's own file, and that before
the defaults. This holds for each setting by itself; an account is taken as a whole from the first source that has it
(only \`DINGTALK_ROBOT_CODE\` may be set alone: it then applies to the account \`main\` of a file).

Every command also reads variables from the file \`.env\` of its working directory, where there is one (\`dingtalk-bridge init\` writes
it); the environment goes before it, and the log names what was read.

An empty variable counts as unset. Where a variable has a second name, the first one listed goes before it; the two names of a
credential must not differ.

| flag | variable | meaning |
| --- | --- | --- |
${fileRows.join("\n")}

## Accounts

| in a file | variable (account \`main\`) | default | meaning |
| --- | --- | --- | --- |
${accountRows.join("\n")}
${row(["`accounts.<name>.botName`", "–", "–", "What people call the robot: stands before a card's words in the list of chats."])}
${row(["`accounts.<name>.enabled`", "–", "`true`", "`false` keeps the account's settings without using it. At least one account must be enabled."])}

A name has up to 32 lower-case letters, digits, \`-\` and \`_\`, beginning with a letter or digit. \`main\` and OpenClaw's \`default\` are one
account. Two accounts cannot have one App Key: DingTalk gives each message to one connection only.

Several accounts need a file, such as \`config/example.accounts.json5\`:

\`\`\`json5
${accountsExample().trimEnd()}
\`\`\`

## Settings

Times are milliseconds as a bare number, or a whole number with a unit: \`500ms\`, \`30s\`, \`5m\`, \`12h\`, \`7d\`. \`config/default.json5\` is a
complete file.

| in a file | variable | default | meaning |
| --- | --- | --- | --- |
${rows.join("\n")}

Relative paths start at the working directory, in files as well; \`~/\` is the home directory.

## Secrets in files

Every secret can stand in a file of its own, for Docker and systemd secrets: \`<VARIABLE>_FILE\` names it in the environment,
\`<key>File\` in a configuration file (\`${ACCOUNT_FIELDS.appSecret.env}_FILE\`, \`appSecretFile\`). Blanks and line breaks around the secret are dropped.
A secret and its file given together are a problem. What is read has to be a file, or what the shell hands over at the start (\`<(…)\`, \`/dev/stdin\`);
a named pipe is refused, here as for a settings file and \`.env\`, because a start and a SIGHUP would wait for its writer.

## Tokens

The bridge and the gateway prove themselves to each other with a bearer token. Without \`BRIDGE_TOKEN\` each side computes it from the
account's credentials: nothing has to be carried over, and a token speaks for its account only. For a gateway that cannot
compute it, \`dingtalk-bridge token\` prints it.

With \`BRIDGE_TOKEN\` one secret of at least 16 characters (\`openssl rand -hex 32\`) speaks for all accounts, and derived tokens are no longer
accepted. To change it without an interruption:

1. Bridge: \`BRIDGE_TOKEN=<old>,<new>\`. It sends the old one and accepts both.
2. Gateway: \`<new>,<old>\`. It sends the new one and accepts both.
3. Bridge: \`<new>\`. Then the gateway: \`<new>\`.

## OpenClaw's own file

\`channels.dingtalk\` of an \`openclaw.json\` gives accounts, so that the credentials stand in one place:

\`\`\`json5
{
  channels: {
    dingtalk: {
      appKey: "dingabcd1234efgh5678", // or clientId
      appSecret: "\${DINGTALK_MAIN_SECRET}", // or clientSecret
      accounts: {
        support: { appKey: "dingijkl1234mnop5678", appSecret: "\${DINGTALK_SUPPORT_SECRET}", enabled: true },
      },
    },
  },
}
\`\`\`

The top level is the account \`main\`; \`accounts.main\` or \`accounts.default\` add to it. A named account has credentials and a \`botName\` of its own;
everything else it inherits from the top level, as in OpenClaw. \`enabled: false\` is respected, at the top level for all. The file that
\`OPENCLAW_CONFIG\` names is always read; the one in its usual place only while neither the environment nor a file of the bridge gives an
account. Where an account comes from that file, more of it counts, unless a flag, a variable or a file of the bridge says otherwise:

| in \`openclaw.json\` | is |
| --- | --- |
| \`channels.dingtalk…appKey\`, \`appSecret\` (\`clientId\`, \`clientSecret\`) | the account. Half of \`main\` may stand in \`DINGTALK_APP_KEY\` or \`DINGTALK_APP_SECRET\` instead |
| \`channels.dingtalk…botName\` | its name, before a card's words in the list of chats |
| \`channels.dingtalk…bridgeToken\` | the token of both sides, for that account; \`BRIDGE_TOKEN\` goes before it |
| \`channels.dingtalk…bridgeUrl\` | with \`http://127.0.0.1:<port>\` or \`http://localhost:<port>\` the port of the API (\`BRIDGE_PORT\`); another address is left alone |
| \`gateway.port\` | the gateway is at \`http://127.0.0.1:<port>\` (\`BRIDGE_GATEWAY_URL\`); not with \`gateway.tls\` or \`gateway.mode: "remote"\` |

The first lines of the log say what was taken from where, and what was overruled. Everything else in that file is left to OpenClaw.

Plain text and \`\${VARIABLE}\` are read. A variable is looked for where OpenClaw looks: in the environment, then in the \`.env\` beside that
file, then in its \`env.vars\`. References to OpenClaw's secret store (\`{ source: … }\`) and \`$include\` on the way to the accounts are
refused: give the bridge the credentials itself then.
`;
}

function names({ env, aliases = [], sensitive = false }: Omit<Variable, "doc">): string {
  const all = [env, ...aliases, ...(sensitive ? [`${env}_FILE`] : [])];
  return all.map((name) => `\`${name}\``).join(", ");
}

function shownDefault(setting: Setting): string | undefined {
  return setting.default === undefined ? setting.example : String(fileDefault(setting));
}

/** The default as people write it. */
function fileDefault(setting: Setting): unknown {
  return setting.format === "duration" ? formatDuration(Number(setting.default)) : setting.default;
}

/** What a setting is for and what may stand there; "text" and "a directory" go without saying. */
function meaning(setting: Setting): string {
  const allowed = describeFormat(setting);
  if (setting.format === "text" || setting.format === "directory") return setting.doc;
  return `${setting.doc} ${allowed.charAt(0).toUpperCase()}${allowed.slice(1)}.`;
}

const row = (cells: string[]): string => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
const comment = (text: string, indent = ""): string[] => wrap(text).map((line) => `${indent}// ${line}`);
const hash = (text: string): string[] => wrap(text).map((line) => `# ${line}`);

function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + word.length >= WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
