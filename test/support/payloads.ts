import { readFileSync } from "node:fs";

/** One published or observed body, and what must be in the envelope's message for it. */
export interface PayloadCase {
  name: string;
  body: Record<string, unknown>;
  expect: Record<string, unknown>;
  /** Fields that the message must not have. */
  absent: string[];
  /** The download codes, in the order of the parts. */
  codes: string[];
  overQuota: boolean;
  /** Where an answer goes. */
  reply: string;
}

/** The sender's side of dingtalk-protocol.md §2.3; a null in a case takes a field away. */
const COMMON = {
  chatbotCorpId: "dingc5344d64…",
  chatbotUserId: "$:LWCP_v1:$robot",
  msgId: "msgMxpQ+qegFQ4MpgOyu0UFrQ==",
  senderNick: "张三",
  isAdmin: true,
  senderStaffId: "manager807",
  senderId: "$:LWCP_v1:$sender",
  senderCorpId: "dingc5344d64…",
  sessionWebhook: "https://oapi.dingtalk.com/robot/sendBySession?session=66d7c695a9",
  sessionWebhookExpiredTime: 1_769_857_097_744,
  createAt: 1_769_851_697_611,
  robotCode: "dingoxxxxdm3k",
};

const BASES: Record<string, Record<string, unknown>> = {
  direct: { ...COMMON, senderPlatform: "Win", conversationId: "cidJ8k435QAs…CH0=", conversationType: "1" },
  group: {
    ...COMMON,
    senderPlatform: "Mac",
    conversationId: "cid6EUxxxxsg==",
    conversationType: "2",
    conversationTitle: "测试群",
    isInAtList: true,
    atUsers: [{ dingtalkId: "$:LWCP_v1:$robot" }],
  },
};

type Stored = Omit<Partial<PayloadCase>, "name"> & { name: string; base: string };

/** The cases of one file in test/fixtures/payloads. */
export function payloads(file: string): PayloadCase[] {
  const url = new URL(`../fixtures/payloads/${file}.json`, import.meta.url);
  const stored = JSON.parse(readFileSync(url, "utf8")) as Stored[];
  return stored.map(({ base, body, absent, codes, overQuota, reply, expect, name }) => ({
    name,
    body: Object.fromEntries(Object.entries({ ...BASES[base], ...body }).filter(([, value]) => value !== null)),
    expect: expect ?? {},
    absent: absent ?? [],
    codes: codes ?? [],
    overQuota: overQuota ?? false,
    reply: reply ?? (base === "group" ? "conversation:cid6EUxxxxsg==" : "user:manager807"),
  }));
}

export const PAYLOAD_FILES = ["text", "rich-text", "media", "others", "quotes"];
