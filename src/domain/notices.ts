export type Language = "zh-CN" | "en";

/** The only words of the bridge's own that people see (design §10). */
export const NOTICES = {
  away: {
    "zh-CN": "助手暂时不在线，您的消息已保存，恢复后会继续处理。",
    en: "The assistant is away just now. Your message is kept and will be answered when it is back.",
  },
  waiting: {
    "zh-CN": "助手正在处理之前的任务，您的消息已排队，请稍候。",
    en: "The assistant is still busy with earlier work. Your message is waiting its turn.",
  },
  givenUp: {
    "zh-CN": "有一条回复未能送达，已停止重试，管理员可以查看原因并重新发送。",
    en: "A reply could not be delivered and was given up. An administrator can see why and send it again.",
  },
  fileRefused: {
    "zh-CN": "有一个文件未能发送，管理员可以查看原因并重新发送。",
    en: "A file could not be sent. An administrator can see why and send it again.",
  },
  quotaUsedUp: {
    "zh-CN": "本组织本月的钉钉调用额度已用完，机器人暂时收不到消息内容，请联系管理员。",
    en: "Your organisation's monthly DingTalk quota is used up, so the robot cannot read messages. Please tell an administrator.",
  },
  personLimit: {
    "zh-CN": "您今天发送的消息已达上限，请明天再试。",
    en: "You have reached today's limit of messages. Please try again tomorrow.",
  },
  /** Stands below what is known of an answer that ended before its time. */
  interrupted: {
    "zh-CN": "（回复中断）",
    en: "(The answer was interrupted.)",
  },
} as const satisfies Record<string, Record<Language, string>>;

/** What a card says whose answer could only be sent as a message. */
export const SEE_NEXT_MESSAGE: Record<Language, string> = {
  "zh-CN": "（完整回复见下一条消息）",
  en: "(The whole answer is in the next message.)",
};

export type NoticeKind = keyof typeof NOTICES;

/** The longest file name that is said as it is; characters. */
const NAME_LIMIT = 80;

/** A line with the name of the file that it is about. */
export function aboutFile(line: string, fileName: string): string {
  if (fileName.length <= NAME_LIMIT) return `${line}\n${fileName}`;
  const cut = fileName.slice(0, NAME_LIMIT).replace(/[\uD800-\uDBFF]$/, "");
  return `${line}\n${cut}…`;
}
