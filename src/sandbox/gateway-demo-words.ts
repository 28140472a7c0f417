/** Which of the two languages the person used. */
export type Language = "zh" | "en";

/** What the demo shows, each by a word of both languages. */
export type Feature = "stream" | "buttons" | "card" | "recall" | "think";

const WORDS: Record<Feature, Record<Language, string>> = {
  stream: { zh: "流式", en: "stream" },
  buttons: { zh: "按钮", en: "buttons" },
  card: { zh: "卡片", en: "card" },
  recall: { zh: "撤回", en: "recall" },
  think: { zh: "思考", en: "think" },
};

/** The feature that a text asks for: `stream` by its beginning, the others by the word alone. */
export function askedFor(text: string): { feature: Feature; language: Language } | undefined {
  const said = text.trim().toLowerCase();
  for (const [feature, words] of Object.entries(WORDS) as [Feature, Record<Language, string>][]) {
    for (const language of ["zh", "en"] as const) {
      const word = words[language];
      const begins = said.startsWith(language === "zh" ? word : `${word} `);
      if (said === word || (feature === "stream" && begins)) return { feature, language };
    }
  }
  return undefined;
}

/** A card of a template that the simulated DingTalk knows; its controls are part of the template, so they are written down here. */
export const DEMO_CARD = {
  templateId: "sandbox-leave-request.schema",
  /** By actionId: what the variable `status` says after it was pressed. */
  controls: { approve: { zh: "已同意", en: "approved" }, reject: { zh: "已拒绝", en: "rejected" } },
  params: {
    zh: { title: "请假申请", applicant: "李四", days: 3, status: "待审批" },
    en: { title: "Leave request", applicant: "李四", days: 3, status: "pending" },
  },
  summary: { zh: "请假申请：3 天", en: "Leave request: 3 days" },
} as const;

export const BUTTONS = {
  zh: { title: "选一个", text: "**按钮**\n\n它们打开网页，不会回到网关。", site: "钉钉开放平台", home: "钉钉" },
  en: {
    title: "Choose",
    text: "**Buttons**\n\nThey open pages and tell the gateway nothing.",
    site: "Docs",
    home: "DingTalk",
  },
} as const;

export const RECALLED = {
  zh: "上面的图片已撤回。经会话 webhook 发出的消息不能撤回。",
  en: "The picture above was taken back. What went by the conversation's webhook cannot be.",
} as const;

export const THOUGHT = {
  zh: "想好了：4 秒后还没有回复可看，消息上就会出现一个表情。",
  en: "Done: a reaction appears when nothing of the answer is to be seen after 4 seconds.",
} as const;

export const STOPPED = { zh: "已停止。", en: "Stopped." } as const;

const GROWING: Record<Language, string> = {
  zh: `## 这是一张流式卡片

回复一边生成，卡片一边更新；结束后**定稿**。

- 网关每次发送到目前为止的全文
- 更新间隔由 bridge 决定，最新的文字为准
- 卡片放不下的部分，作为普通消息接在下面

| 调用 | 作用 |
| --- | --- |
| \`POST /v1/streams\` | 开始 |
| \`PUT /v1/streams/:id\` | 目前的全文 |
| \`POST /v1/streams/:id/finish\` | 结束 |

\`\`\`js
await fetch(url, { method: "PUT", headers, body: JSON.stringify({ seq, text }) });
\`\`\`

完成。`,
  en: `## This is a live card

It fills up while the answer is written, and is **final** at the end.

- the gateway sends the whole text so far
- the bridge chooses when to update; the newest text wins
- what a card cannot hold follows as messages

| call | what it does |
| --- | --- |
| \`POST /v1/streams\` | begins |
| \`PUT /v1/streams/:id\` | the text so far |
| \`POST /v1/streams/:id/finish\` | ends |

\`\`\`js
await fetch(url, { method: "PUT", headers, body: JSON.stringify({ seq, text }) });
\`\`\`

Done.`,
};

const DELTAS = 50;

/** The text of the live card in pieces, as a model writes it. */
export function growingText(language: Language): string[] {
  const letters = Array.from(GROWING[language]);
  const length = Math.ceil(letters.length / DELTAS);
  return Array.from({ length: Math.ceil(letters.length / length) }, (_, n) =>
    letters.slice(n * length, (n + 1) * length).join(""),
  );
}
