import type { Account } from "../domain/account.ts";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { type CheckName, type Finding, fine, skipped } from "../domain/finding.ts";
import type { Probed } from "../dingtalk/probes.ts";
import type { AccountDesk } from "./doctor-dingtalk.ts";
import { type ReplySettings, formatOf, templateOf } from "./stream-settings.ts";

const CONSOLE = "open-dev.dingtalk.com → the app";
const CREDENTIALS_MEND = `${CONSOLE} → 凭证与基础信息: copy Client ID and Client Secret again, then: dingtalk-bridge init --force`;
const IP_MEND = `${CONSOLE} → 安全设置 → 服务器出口IP: add this machine's public address, or empty the list`;
const ROBOT_MEND = `${CONSOLE} → 应用能力 → 机器人`;

/** As the console shows them, and what does not work without. */
const PERMISSIONS = {
  qyapi_robot_sendmsg: {
    shown: "企业内机器人发送消息权限",
    without: "messages of the robot's own accord, answers later than 90 minutes, and files do not work",
    level: "error",
  },
  "Card.Instance.Write": {
    shown: "互动卡片实例写权限",
    without: "replies come as messages when they are complete, without a card",
    level: "warning",
  },
  "Card.Streaming.Write": {
    shown: "AI卡片流式更新权限",
    without: "cards cannot fill up while the assistant writes",
    level: "warning",
  },
} as const;
type Permission = keyof typeof PERMISSIONS;

const ROBOT_WRONG =
  /robotCode|robotNotExist|robot\.?not\.?found|chatbot\.?notfound|template\.not\.existed|resource\.not\.found/i;
const ROBOT_STOPPED = /stopped|robotDisabled|robotIsStop|resource\.unavailable/i;

export interface AccountChecks {
  account: Account & { reply: ReplySettings };
  desk: AccountDesk;
}

/** Whether DingTalk gives an access token. What else needs one asks this first. */
export async function checkCredentials({ account, desk }: AccountChecks, signal: AbortSignal): Promise<Finding> {
  const { name } = account;
  try {
    await desk.token(signal);
    return fine("credentials", "DingTalk accepts App Key and App Secret", { account: name });
  } catch (thrown) {
    const { code, message } = asBridgeError(thrown);
    const mend =
      code === "dingtalk_bad_credentials"
        ? CREDENTIALS_MEND
        : code === "dingtalk_ip_not_allowed"
          ? IP_MEND
          : "try again in a minute; if it stays, look at the findings on network and proxy";
    const said = message.split("; DingTalk: ").at(-1) ?? "";
    const text =
      code === "dingtalk_bad_credentials" ? `DingTalk does not accept App Key and App Secret (${said})` : message;
    return { check: "credentials", code, level: "error", account: name, text, mend };
  }
}

/** Opens a Stream connection and closes it. Only while no bridge runs with this account. */
export async function checkStream({ account, desk }: AccountChecks, signal: AbortSignal): Promise<Finding> {
  const { name } = account;
  try {
    const { host } = await desk.connect(signal);
    return fine("stream", `opened and closed a connection to ${host}`, { account: name });
  } catch (thrown) {
    const { code, message, mend } = asBridgeError(thrown);
    return {
      check: "stream",
      code,
      level: "error",
      account: name,
      text: message,
      mend: mend ?? "try again in a minute",
    };
  }
}

/** Robot code and the permission to send: one call that shows nothing to anybody. */
export async function checkRobot({ account, desk }: AccountChecks, signal: AbortSignal): Promise<Finding[]> {
  const { name, robotCode, appKey } = account;
  const probed = await desk.probes.robot(signal);
  const permission = permissionFinding("qyapi_robot_sendmsg", probed, name);
  const robot = (code: string, text: string, mend: string): Finding => ({
    check: "robot",
    code,
    level: "error",
    account: name,
    text: `${text} (DingTalk: ${probed.theirCode})`,
    mend,
  });
  if (permission.code !== "ok")
    return [skipped("robot", "without that permission DingTalk says nothing of it", { account: name }), permission];
  if (ROBOT_STOPPED.test(probed.theirCode)) {
    const mend = `${ROBOT_MEND}: switch 机器人配置 on, then publish a version (版本管理与发布)`;
    return [robot("robot_stopped", "the robot is switched off", mend), permission];
  }
  if (ROBOT_WRONG.test(probed.theirCode)) {
    const mend = `${ROBOT_MEND}: 复制 RobotCode gives the value for DINGTALK_ROBOT_CODE; no such entry: add the robot (添加应用能力) and publish a version`;
    return [
      robot("robot_code_wrong", `DingTalk knows no robot with the code ${robotCode} of this app`, mend),
      permission,
    ];
  }
  const which = robotCode === appKey ? "the App Key, as usual" : "set by DINGTALK_ROBOT_CODE or the file";
  return [fine("robot", `DingTalk takes the robot code (${which})`, { account: name }), permission];
}

/** The permissions for cards and the template, where replies are shown as cards. */
export async function checkCards({ account, desk }: AccountChecks, signal: AbortSignal): Promise<Finding[]> {
  const { name, reply } = account;
  const template = templateOf(reply);
  const shows = [true, false].some((isGroup) => ["auto", "card"].includes(formatOf(reply, isGroup)));
  if (!template || !shows) {
    const why = "replies of this account are not shown as cards";
    return [skipped("permission", why, { account: name }), skipped("card_template", why, { account: name })];
  }
  const { probes } = desk;
  const [write, stream] = await Promise.all([probes.cardWrite(signal), probes.cardStream(signal)]);
  const permissions = [
    permissionFinding("Card.Instance.Write", write, name),
    permissionFinding("Card.Streaming.Write", stream, name),
  ];
  if (permissions[0]?.code !== "ok")
    return [...permissions, skipped("card_template", "Card.Instance.Write comes first", { account: name })];
  return [...permissions, templateFinding(template.id, await probes.template(template, signal), name)];
}

function templateFinding(id: string, { failure }: Probed, account: string): Finding {
  if (failure?.code === "card_template_missing") {
    const mend =
      "DINGTALK_CARD_TEMPLATE_ID: auto, off, or the id of a published template of this app (open-dev.dingtalk.com → 卡片平台); docs/cards.md";
    const text = `DingTalk refuses the card template ${id}: ${failure.detail ?? failure.code}`;
    return { check: "card_template", code: failure.code, level: "warning", account, text, mend };
  }
  if (failure?.kind === "retry" && failure.class === "peer-away") {
    const text = `the card template cannot be told: ${failure.detail ?? failure.code}`;
    return { check: "card_template", code: "card_template_unknown", level: "note", account, text };
  }
  // A green answer does not prove that a client shows it (dingtalk-console.md §2.4).
  const text = `DingTalk does not refuse the template ${id}; whether it is shown, only a look at a reply tells`;
  return fine("card_template", text, { account });
}

function permissionFinding(code: Permission, { failure }: Probed, account: string): Finding {
  const { shown, without, level } = PERMISSIONS[code];
  const check: CheckName = "permission";
  const name = `${code} (${shown})`;
  if (failure?.code === "dingtalk_permission_missing") {
    const mend = `${CONSOLE} → 开发配置 → 权限管理: search ${code} → 立即开通; if it stays refused, publish a version`;
    return { check, code: failure.code, level, account, text: `${name} is missing: ${without}`, mend };
  }
  // Refused for what it names, as it has to be: the permission was no hindrance.
  if (failure === undefined || failure.kind === "rejected" || (failure.kind === "retry" && failure.class === "entry"))
    return fine(check, `${name} is granted`, { account });
  return {
    check,
    code: "permission_unknown",
    level: "note",
    account,
    text: `whether ${name} is granted cannot be told: ${failure.detail ?? failure.code}`,
    mend: "run the doctor again later; a refused reply names the permission in the log",
  };
}

function asBridgeError(thrown: unknown): BridgeError {
  return thrown instanceof BridgeError ? thrown : new BridgeError("internal", coerceError(thrown).message);
}
