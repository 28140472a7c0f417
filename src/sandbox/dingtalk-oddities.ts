import type { SaidMessage } from "./dingtalk-types.ts";

const quoted = { msgId: "msgQuoted==", senderId: "$:LWCP_v1:$abc", senderNick: "李四", createdAt: 1_769_851_600_000 };
const quote = (msgType: string, content: unknown): SaidMessage => ({
  payload: {
    originalMsgId: quoted.msgId,
    text: { content: "帮我总结一下", isReplyMsg: true, repliedMsg: { ...quoted, msgType, content } },
  },
});

/** Undocumented shapes that people have seen (dingtalk-protocol.md §2.8, §2.9, §6.4 item 32): arguments of `say`. */
export const oddMessages = {
  quoteText: quote("text", { text: "被引用的正文" }),
  quoteTextInContent: quote("text", { content: "被引用的正文" }),
  quoteContentAsString: quote("text", '{"text":"被引用的正文"}'),
  quoteRichText: quote("richText", {
    richText: [{ msgType: "text", content: "图：" }, { msgType: "picture", downloadCode: "abc" }, { atName: "张三" }],
  }),
  quotePicture: quote("picture", { downloadCode: "abc" }),
  quoteFile: quote("file", { downloadCode: "abc", fileName: "foobar.zip" }),
  quoteFileWithoutCode: quote("unknownMsgType", {}),
  quoteMarkdown: quote("markdown", { text: "**粗体**" }),
  quoteCard: {
    payload: {
      originalMsgId: quoted.msgId,
      originalProcessQueryKey: "4v+AzUED0w8=",
      text: { content: "继续", isReplyMsg: true, repliedMsg: { msgId: quoted.msgId, createdAt: quoted.createdAt } },
    },
  },
  quoteChatRecord: quote("chatRecord", { title: "群聊的聊天记录", summary: "张三:[消息]\n李四:[图片]" }),
  quoteOfQuote: quote("text", { text: "再引用", isReplyMsg: true, repliedMsg: { ...quoted, msgType: "text" } }),
  quoteWithoutMessage: { payload: { originalMsgId: quoted.msgId, text: { content: "这个呢", isReplyMsg: true } } },
  quoteInRichText: {
    msgtype: "richText",
    content: { richText: [{ text: "看" }], isReplyMsg: true, repliedMsg: { ...quoted, msgType: "text" } },
  },
  quoteLegacy: {
    text: "你看",
    payload: {
      quoteMessage: {
        msgId: quoted.msgId,
        msgtype: "text",
        text: { content: "旧" },
        senderNick: "李四",
        senderId: "x",
      },
    },
  },
  reply: { msgtype: "reply", payload: { text: { content: "回复" }, content: null } },
  contentAsString: { msgtype: "picture", content: '{"downloadCode":"abc"}' },
  durationAsString: { msgtype: "video", content: { duration: "5", videoType: "mp4", downloadCode: "abc" } },
  audioWithoutDuration: { msgtype: "audio", content: { downloadCode: "abc", recognition: "钉钉" } },
  chatRecord: {
    msgtype: "chatRecord",
    content: {
      title: "群聊的聊天记录",
      summary: '["张三:你好","李四:[图片]"]',
      chatRecord: '[{"senderId":"$:LWCP_v1:$abc","msgType":"text","content":"你好"}]',
    },
    payload: { isForwardMsg: "1" },
  },
  chatRecordEmpty: {
    msgtype: "chatRecord",
    content: { title: "聊天记录", summary: "", chatRecord: "[]" },
    payload: { isForwardMsg: "1" },
  },
  interactiveCard: {
    msgtype: "interactiveCard",
    content: {
      biz_custom_action_url: "dingtalk://dingtalkclient/page/yunpan?route=previewDentry&type=file&spaceId=1&fileId=2",
    },
  },
  actionCard: {
    msgtype: "actionCard",
    content: { title: "标题", text: "正文", actionUrlItemList: [{ actionUrl: "https://example.com" }] },
  },
  markdownInText: { msgtype: "markdown", payload: { text: { content: "**粗体**" }, content: null } },
  markdownInContent: { msgtype: "markdown", content: { text: "**粗体**" } },
  unknownMsgType: { msgtype: "unknownMsgType", payload: { ai_robot_sessionid: "" } },
  neverHeardOf: { msgtype: "hologram", content: { a: { b: [1, null] } } },
  withoutText: { payload: { text: null } },
  withoutStaffId: { text: "你好", payload: { senderStaffId: null, isAdmin: null } },
  numbersForStrings: { text: "你好", payload: { conversationType: 1, createAt: "1769851697611" } },
  richTextLineBreaks: {
    msgtype: "richText",
    content: {
      richText: [
        { text: "@机器人 " },
        { type: "at", atName: "张三", atUserId: "staff001" },
        { text: "\n" },
        { type: "emoji", text: "[微笑]" },
        { type: "skill", skillData: { skillId: "s1", displayName: "翻译", iconUrl: "https://example.com/i.png" } },
      ],
    },
  },
} as const satisfies Record<string, SaidMessage>;

const callback = { specVersion: "1.0", type: "CALLBACK", data: "{}" };
const headers = { contentType: "application/json", topic: "/v1.0/im/bot/messages/get", time: "1769851697756" };

/** Frames that a client must survive (dingtalk-protocol.md §6.4 items 31, 32): arguments of `pushFrame`. */
export const oddFrames = {
  notJson: "{not json",
  empty: "",
  jsonNull: "null",
  jsonArray: "[]",
  jsonNumber: "42",
  binary: Buffer.from([0xff, 0x00, 0xfe]),
  withoutHeaders: callback,
  headersNull: { ...callback, headers: null },
  withoutMessageId: { ...callback, headers },
  emptyData: { ...callback, headers: { ...headers, messageId: "odd_empty" }, data: "" },
  withoutData: { specVersion: "1.0", type: "CALLBACK", headers: { ...headers, messageId: "odd_none" } },
  dataNotJson: { ...callback, headers: { ...headers, messageId: "odd_text" }, data: "hello" },
  dataObject: { ...callback, headers: { ...headers, messageId: "odd_object" }, data: { text: "x" } },
  unknownType: { ...callback, type: "GOSSIP", headers: { ...headers, messageId: "odd_type" } },
  unknownTopic: { ...callback, headers: { ...headers, messageId: "odd_topic", topic: "/v9.9/never" } },
  numericTime: { ...callback, headers: { ...headers, messageId: "odd_time", time: 1_769_851_697_756 } },
  systemWithoutMessageId: { type: "SYSTEM", headers: { topic: "gossip", contentType: "application/json" }, data: "{}" },
  huge: {
    ...callback,
    headers: { ...headers, messageId: "odd_huge" },
    data: JSON.stringify({ x: "字".repeat(68_000) }),
  },
} as const;
