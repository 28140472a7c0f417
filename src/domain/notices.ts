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
  quotaUsedUp: {
    "zh-CN": "本组织本月的钉钉调用额度已用完，机器人暂时收不到消息内容，请联系管理员。",
    en: "Your organisation's monthly DingTalk quota is used up, so the robot cannot read messages. Please tell an administrator.",
  },
  personLimit: {
    "zh-CN": "您今天发送的消息已达上限，请明天再试。",
    en: "You have reached today's limit of messages. Please try again tomorrow.",
  },
} as const satisfies Record<string, Record<Language, string>>;

export type NoticeKind = keyof typeof NOTICES;
