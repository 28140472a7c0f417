import type { ErrorCode } from "../domain/errors.ts";

/**
 * What an answer of DingTalk means. `token`: fetch a new access token and try again at once. `says` is the reason in plain
 * words, shown to operators together with DingTalk's own code.
 */
export type Rule = { says: string } & (
  | { kind: "token" }
  | { kind: "retry"; code: ErrorCode; class: "peer-away" | "entry"; afterMs?: number }
  | { kind: "rejected"; code: ErrorCode }
  | { kind: "uncertain"; code: ErrorCode }
);

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/*
 * Throttles (design §7). The code tells what has to pause: `recipient_throttled` this conversation, `dingtalk_throttled`
 * this API of the app, `dingtalk_ip_blocked` everything. A person has to mend the next four; until then nothing may be lost,
 * so they wait like an outage. Quota: the bucket is probed once an hour.
 */
const token: Rule = { kind: "token", says: "the access token is not accepted" };
const recipient: Rule = wait("recipient_throttled", MINUTE, "too many messages to this conversation");
const apiSecond: Rule = wait("dingtalk_throttled", 2 * SECOND, "too many calls of this API in one second");
const apiMinute: Rule = wait("dingtalk_throttled", MINUTE, "too many calls of this API in one minute");
const blocked: Rule = wait("dingtalk_ip_blocked", 5 * MINUTE, "this machine's address is blocked for five minutes");
const quota: Rule = wait("dingtalk_quota_exhausted", 60 * MINUTE, "the organisation's quota of this month is used up");
const ipList: Rule = wait(
  "dingtalk_ip_not_allowed",
  MINUTE,
  "this machine's address is not on the app's list: open-dev.dingtalk.com → the app → 安全设置 → 服务器出口IP",
);
const permission: Rule = wait(
  "dingtalk_permission_missing",
  MINUTE,
  "the app lacks a permission: open-dev.dingtalk.com → the app → 权限管理",
);
const credentials: Rule = wait(
  "dingtalk_bad_credentials",
  MINUTE,
  "App Key and App Secret are not accepted: open-dev.dingtalk.com → the app → 凭证与基础信息",
);
const busy: Rule = again("DingTalk is busy");
const timedOut: Rule = { kind: "uncertain", code: "dingtalk_timeout", says: "DingTalk did not finish in time" };
const nobody = (says: string): Rule => ({ kind: "rejected", code: "recipient_unknown", says });
const tooLong: Rule = { kind: "rejected", code: "message_too_long", says: "the message is too long" };

function wait(code: ErrorCode, afterMs: number, says: string): Rule {
  return { kind: "retry", class: "peer-away", code, afterMs, says };
}

function again(says: string): Rule {
  return { kind: "retry", class: "entry", code: "dingtalk_unavailable", says };
}

/** By DingTalk's code; `oapi` numbers are written as strings. Sources: dingtalk-protocol.md §3.2, §5.2–5.4, Appendix A. */
const TABLE: Readonly<Record<string, Rule>> = {
  // access token (§3.1); 88 is here when a subcode says that it is about authentication (§5.3)
  InvalidAuthentication: token,
  invalidAccessToken: token,
  "accesstoken.expired": token,
  40001: token,
  40014: token,
  41001: token,
  42001: token,
  "88.auth": token,

  // credentials
  invalidClientIdOrSecret: credentials,
  "invalid.client": credentials,
  "unauthorized.client": credentials,
  authFailed: credentials,
  40089: credentials,

  // permission and address list
  "Forbidden.AccessDenied.AccessTokenPermissionDenied": permission,
  43007: permission,
  60011: permission,
  "Forbidden.AccessDenied.IpNotInWhiteList": ipList,
  "ip.not.match": ipList,
  60020: ipList,

  // month's quota (§5.1)
  "Forbidden.AccessDenied.ApiCountLimitForOrg": quota,
  90020: quota,
  90030: quota,

  // throttles (§5.2)
  1111: blocked,
  "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi": apiSecond,
  "Forbidden.AccessDenied.QpsLimitForSuitekeyAndOrgAndApi": apiSecond,
  "Forbidden.AccessDenied.QpsLimitForApi": apiSecond,
  "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi": apiMinute,
  "Forbidden.AccessDenied.QpmLimitForSuitekeyAndOrgAndApi": apiMinute,
  systemBusy: apiSecond,
  "request.too.fast": apiSecond,
  "failure.operation.operatingFrequencyTooFast": apiSecond,
  90018: apiSecond,
  90002: apiSecond,
  ...Object.fromEntries([90001, 90017].map((code) => [code, apiMinute])),
  ...Object.fromEntries(Array.from({ length: 12 }, (_, index) => [90003 + index, apiMinute])),
  "toomuch.msg": apiMinute,
  "daily.call.limit": wait("dingtalk_throttled", 10 * MINUTE, "the daily limit of this API is reached"),
  "send.too.fast": recipient,
  "send.byToken.tooFast": recipient,
  "too.many.group": recipient,
  "too.many.people": recipient,
  130101: recipient,
  410100: recipient,

  // trouble on DingTalk's side
  "system.busy": busy,
  "system.error": busy,
  // of the reactions (§3.10)
  "system.err": busy,
  "-1": busy,
  500100: busy,
  15: timedOut,
  88: timedOut,
  operationTimeout: timedOut,
  "service.timeout": timedOut,
  "unknown.send.result": { kind: "uncertain", code: "dingtalk_bad_answer", says: "DingTalk does not know the result" },

  // the flow sends by the Open API instead
  300001: { kind: "rejected", code: "webhook_expired", says: "the session webhook has expired" },

  // whom it is for
  "staffId.notExisted": nobody("the staff id does not exist"),
  "param.userIdNotExist": nobody("the user does not exist"),
  60121: nobody("the user does not exist"),
  uidDecryptError: nobody("the user id cannot be read"),
  "robot.oto.notExist": nobody("this person has no conversation with the robot"),
  "illegal.receivers": nobody("the receivers are not valid"),
  "invalid.openConversationId": nobody("the conversation id is not valid"),
  "conversation.org.notMatch": nobody("the conversation belongs to another organisation"),
  "conversation.org.dismatch": nobody("the conversation belongs to another organisation"),
  "cidParse.wrong": nobody("the conversation id cannot be read"),
  cidDecryptError: nobody("the conversation id cannot be read"),
  decryptOpenconversationIdFailed: nobody("the conversation id cannot be read"),
  "chat.notExist": nobody("the conversation does not exist"),
  userNotInGroup: nobody("the user is not in the group"),
  "group.disbanded": nobody("the group was disbanded"),
  400013: nobody("the group was disbanded"),

  // size
  "invalidParameter.msgParam.tooLong": tooLong,
  "param.stream.content": tooLong,
  460101: tooLong,

  // recall (§3.7)
  "processQueryKey.expireTime": {
    kind: "rejected",
    code: "not_cancellable",
    says: "not sent yet, or older than 24 hours",
  },
  "robot.processQueryKey.expired": {
    kind: "rejected",
    code: "not_cancellable",
    says: "the message is older than 24 hours",
  },
  "not.allowed.robotCode": {
    kind: "rejected",
    code: "not_cancellable",
    says: "the message was not sent by this robot",
  },

  ...rejected({
    "auth.error": "the operation is not permitted",
    unauthorized: "the app is not authorised for this",
    "bot.forbidden.sendMessage": "the robot is muted",
    "bot.stopped": "the robot is stopped in this group",
    "chatbotId.notAllow.sendOTO": "the robot may not write to people first: check that it is enabled and published",
    "contain.notAllowed.content": "DingTalk's content review refused the message",
    "contain.notAllowed.picture": "DingTalk's content review refused the picture",
    "contain.notAllowed.text": "DingTalk's content review refused the text",
    "contain.unsafe.url": "DingTalk's content review refused a link",
    "card.content.checkFailed": "DingTalk's content review refused the card",
    contentCheckError: "DingTalk's content review refused the message",
    contentSecurityChckFailed: "DingTalk's content review refused the message",
    "param.contentUnsafe": "DingTalk's content review refused the card",
    430101: "DingTalk's content review refused a link",
    430102: "DingTalk's content review refused the text",
    430103: "DingTalk's content review refused the picture",
    430104: "DingTalk's content review refused the message",
    "illegal.excludes": "the list of excluded receivers is not valid",
    "receivers.exceed": "too many receivers",
    "only.groupAdmin.canAtAll": "only the group's owner may mention everybody",
    "atMember.nonexist": "a mentioned member does not exist",
    "conversationType.illegal": "not possible in this kind of conversation",
    "invalid.param.actionCardTobtnOrientation": "btnOrientation of the action card is not valid",
    "invalid.param.actionCardTocanForward": "canForward of the action card is not valid",
    "invalid.processQueryKey": "the message id (processQueryKey) is not valid",
    "invalidParameter.processQueryKey.missing": "the message id (processQueryKey) is missing",
    "invalidParameter.processQueryKeys.overMax": "more than 20 message ids (processQueryKeys)",
    "notRevoke.all.messages": "not all messages were recalled",
    "invalidParameter.cursor.invalid": "nextToken is not valid",
    "invalidParameter.pageSize.invalid": "maxResults is above 200",
    "invalidParameter.invalid": "no robot belongs to this token",
    "invalidParameter.msg.unsupport": "this type of message is not supported",
    "invalidParameter.msgBody.invalid": "the body is not JSON",
    "invalidParameter.msgKey.empty": "msgKey is missing",
    "invalidParameter.msgKey.invalid": "msgKey is not known",
    "invalidParameter.msgParam.invalid": "msgParam is not JSON",
    "invalidParameter.param.invalid": "a parameter is not valid",
    "invalidParameter.robotCode": "the robot code is not valid",
    "invalidParameter.robotCode.auth": "the robot code does not belong to this app",
    "invalidParameter.robotCode.coolApp": "the cool-app code does not fit the robot or the group",
    "invalidParameter.robotCode.empty": "the robot code is empty",
    "invalidParameter.robotCode.invalid": "the robot code is not valid, or the robot is not in this group",
    "invalidParameter.robotCode.missing": "the robot code is missing",
    "invalidParameter.robotCode.notExsit": "no robot has this robot code",
    "invalidParameter.token.invalid": "the token is not authorised",
    "invalidParameter.userId.empty": "the staff id is missing",
    "invalidParameter.userIds.empty": "the list of users is empty",
    "invalidParameter.userIds.overMax": "too many users in one call",
    "keywords.not.match": "the message lacks the robot's keyword",
    "miss.chatbotId": "the robot code is missing",
    "miss.openConversationId": "the conversation id is missing",
    "openConversationId.notExisted": "conversation id and token are both empty",
    "resource.not.found": "the robot was not found",
    "resource.unavailable": "the robot is stopped or not installed in this group",
    "send.forbidden": "the robot may not send",
    "sendMessage.model.notMatch": "DingTalk has no message model for this",
    "session.expired": "the session has expired",
    "session.notExisted": "the session does not exist",
    "sign.not.match": "the signature does not match",
    "template.not.existed": "the robot's template is missing: check the robot code",
    "template.stopped": "the robot's template is stopped",
    "token.notExisted": "the robot's token does not exist",
    "chatbot.notFound": "the robot was not found",
    chatbotNotFound: "the robot was not found",
    "robot.not.found": "the robot was not found",
    robotNotFound: "the robot was not found",
    "corp.robot.nonexist": "the organisation has no such robot",
    chatbotNotInstall: "the robot is not installed",
    robotDisabled: "the robot is disabled",
    "robotCode.empty": "the robot code is empty",
    "invalid.robotCode": "the robot code is not valid",
    "invalidRequest.robotCodeNotMatch": "the robot code does not match",
    "invalidRequest.robotIsStop": "the robot is stopped",
    "invalidRequest.robotNotExist": "the robot does not exist",
    "chat.coolApp.notInstalled": "the cool app is not installed in this group",
    coolAppNotInstalled: "the cool app is not installed",
    coolAppUninstalled: "the cool app was removed",
    coolAppUnexist: "the cool app does not exist",
    coolAppPermissionDenied: "the cool app has no permission",
    reject: "the group has too many robots",
    "invalid.content": "the content is not valid",

    // webhook
    40035: "a parameter is missing or not valid",
    43004: "the content type is not accepted",
    310000: "the robot's security settings refuse the message",
    400101: "the robot's token does not exist",
    400102: "the robot is stopped",
    400105: "this type of message is not supported",
    400106: "the message does not exist",
    401102: "a field of the message is missing",

    // cards
    "param.cardAlreadyExist": "a card with this id exists already",
    "param.cardDataAndPrivateDataBothEmpty": "the card update is empty",
    "param.cardPublicDataEmpty": "the card's data is empty",
    "param.cardTemplateIdEmpty": "the card's template id is empty",
    "param.empty": "the request is empty",
    "param.invalid": "a parameter is not valid",
    "param.openDeliverModelEmpty": "the card's deliver model is missing",
    "param.openDeliverModelError": "the card's deliver model is not valid",
    "param.openSpaceIdEmpty": "the card's space id is missing",
    "param.openSpaceIdInvalid": "the card's space id is not valid",
    "param.openSpaceModelInvalid": "the card's space model is not valid",
    "param.openSpaceModellnvalid": "the card's space model is not valid",
    "param.outTrackIdEmpty": "the card's id is missing",
    "param.spaceDeliverModelEmpty": "the card's deliver model is missing",
    "param.spaceDeliverModelError": "the card's deliver model is not valid",
    "param.stream.contentEmpty": "the card's content is empty",
    "param.stream.guidEmpty": "guid is missing",
    "param.stream.isFull": "isFull is missing",
    "param.stream.keyEmpty": "the card's key is missing",
    "param.userIdEmpty": "the user is missing",
    "card.templateEmpty": "the card's template id is empty",
    "card.outTraceIdEmpty": "the card's id is missing",
    "card.outTraceIdError": "the card's id is not valid",
    "outTrackId.empty": "the card's id is missing",
    outTrackIdLengthLimited: "the card's id is too long",
    "cardInstance.wrong": "the card is not valid",
  }),

  // media (§3.8, §3.9)
  ...rejected(
    {
      "invalid.media.id": "the media id is not valid or has expired",
      "parameter.media.wrong": "the media id is not valid or has expired",
      40007: "the media id is not valid or has expired",
      "invalidParameter.robotCode.downloadCode": "the download code is wrong or has expired",
    },
    "media_expired",
  ),
  ...rejected(
    { 40004: "this type of media is not accepted", 40005: "this type of file is not accepted" },
    "media_unsupported",
  ),
  ...rejected({ 40006: "the file is too large" }, "media_too_large"),
  ...rejected({ 41005: "there is no file in the request", 44001: "the file is empty" }, "media_empty"),
  ...rejected(
    {
      "param.cardNotExist": "the card does not exist",
      "param.stream.outTrackId": "the card does not exist",
      "cardInstance.notExist": "the card does not exist",
    },
    "card_unknown",
  ),
  ...rejected(
    {
      "param.templateNotExist": "the card template does not exist",
      "param.templateUnpublished": "the card template is not published",
      "cardTemplate.not.exist": "the card template does not exist",
      cardTemplateInvalid: "the card template is not valid",
      "invalidParameter.cardTemplate.notFound": "the card template does not exist",
    },
    "card_template_missing",
  ),
};

function rejected(
  reasons: Readonly<Record<string, string>>,
  as: ErrorCode = "dingtalk_rejected",
): Record<string, Rule> {
  return Object.fromEntries(
    Object.entries(reasons).map(([code, says]) => [code, { kind: "rejected", code: as, says }]),
  );
}

/** Families of codes, for those that are not in the table by name. */
const FAMILIES: readonly (readonly [RegExp, Rule])[] = [
  [/QpsLimit/i, apiSecond],
  [/QpmLimit/i, apiMinute],
  [/ApiCountLimit/i, quota],
  [/IpNotInWhiteList/i, ipList],
  [/PermissionDenied$/i, permission],
  [/^miss\.param\./i, { kind: "rejected", code: "dingtalk_rejected", says: "a part of the message is missing" }],
  [/^param\.dynamic/i, { kind: "rejected", code: "dingtalk_rejected", says: "the card's data source is not valid" }],
];

/** By HTTP status, when the code says nothing (dingtalk-protocol.md §5.3). */
export const STATUS_RULES = {
  unauthorized: token,
  tooLarge: tooLong,
  throttled: apiSecond,
  // Whoever answers 503 has not begun; the other 5xx may have failed on this very message.
  unavailable: { kind: "retry", class: "peer-away", code: "dingtalk_unavailable", says: "DingTalk is not available" },
  gatewayTimeout: timedOut,
  serverError: again("DingTalk failed"),
  blockPage: blocked,
  stranger: wait(
    "dingtalk_bad_answer",
    MINUTE,
    "something else answers in DingTalk's place: check HTTPS_PROXY, DINGTALK_API_BASE and the firewall",
  ),
  unreadable: { kind: "uncertain", code: "dingtalk_bad_answer", says: "DingTalk's answer cannot be read" },
  unknown: {
    kind: "retry",
    class: "entry",
    code: "dingtalk_rejected",
    says: "DingTalk refuses with a code that is not known",
  },
} as const satisfies Record<string, Rule>;

const RULES: ReadonlyMap<string, Rule> = new Map(
  Object.entries(TABLE).map(([code, rule]) => [code.toLowerCase(), rule]),
);

/** The rule of one of DingTalk's codes, in any case. */
export function ruleOf(code: string): Rule | undefined {
  return RULES.get(code.toLowerCase()) ?? FAMILIES.find(([pattern]) => pattern.test(code))?.[1];
}

/** Every code that has a rule of its own. */
export const knownCodes: readonly string[] = Object.keys(TABLE);
