import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { openDirect, openGroup, send, sendContent } from "../support/outbound.ts";

let bridge: TestBridge;
beforeAll(async () => {
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: { BRIDGE_LIMITS_GROUP_PER_MINUTE: "1000" },
    dingtalk: { knobs: { groupPerMinute: 0 } },
  });
});
afterAll(() => bridge.close());

const buttons = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ title: `按钮 ${n + 1}`, url: `https://example.com/${n + 1}` }));
const link = { type: "link", title: "标题", text: "说明", url: "https://example.com/a" };
const card = (count: number, extra: object = {}) => ({
  type: "actionCard",
  title: "请选择",
  text: "**哪个?**",
  buttons: buttons(count),
  ...extra,
});

describe("by the Open API", () => {
  it("a link, with and without a picture", async () => {
    expect(await sendContent(bridge, link)).toMatchObject({ status: "delivered", parts: [{ route: "open-api" }] });
    await sendContent(bridge, { ...link, imageUrl: "https://example.com/a.png" });
    const bare = { title: "标题", text: "说明", messageUrl: "https://example.com/a" };
    expect(bridge.dingtalk.sent).toMatchObject([
      { msgKey: "sampleLink", raw: bare },
      { msgKey: "sampleLink", raw: { ...bare, picUrl: "https://example.com/a.png" } },
    ]);
  });

  it.each([
    [1, {}, "sampleActionCard", { singleTitle: "按钮 1", singleURL: "https://example.com/1" }],
    [
      3,
      {},
      "sampleActionCard3",
      { actionTitle1: "按钮 1", actionURL1: "https://example.com/1", actionURL3: "https://example.com/3" },
    ],
    [5, { layout: "vertical" }, "sampleActionCard5", { actionTitle5: "按钮 5" }],
    [
      2,
      { layout: "horizontal" },
      "sampleActionCard6",
      { buttonTitle1: "按钮 1", buttonUrl1: "https://example.com/1", buttonTitle2: "按钮 2" },
    ],
  ])("an action card with %i buttons %j", async (count, extra, msgKey, raw) => {
    await sendContent(bridge, card(count, extra));
    expect(bridge.dingtalk.sent.at(-1)).toMatchObject({ msgKey, title: "请选择", text: "**哪个?**", raw });
  });
});

describe("by the webhook", () => {
  it("a link and action cards of every form, in a direct conversation and a group", async () => {
    await openDirect(bridge);
    const to = `conversation:${await openGroup(bridge)}`;
    const before = bridge.dingtalk.sent.length;
    expect(await sendContent(bridge, link)).toMatchObject({ parts: [{ route: "webhook" }] });
    await sendContent(bridge, card(1));
    await send(bridge, { to, content: card(3) });
    await send(bridge, { to, content: card(2, { layout: "horizontal" }) });
    expect(bridge.dingtalk.sent.slice(before)).toMatchObject([
      { msgtype: "link", raw: { link: { messageUrl: "https://example.com/a" } } },
      { msgtype: "actionCard", raw: { actionCard: { singleTitle: "按钮 1", btnOrientation: "0" } } },
      { msgtype: "actionCard", raw: { actionCard: { btnOrientation: "0", btns: { length: 3 } } } },
      {
        msgtype: "actionCard",
        raw: { actionCard: { btnOrientation: "1", btns: [{ actionURL: "https://example.com/1" }, {}] } },
      },
    ]);
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("an action card @-s people; a link cannot, and DingTalk is not asked to", async () => {
    const to = `conversation:${await openGroup(bridge)}`;
    await send(bridge, { to, content: card(2), mentions: { userIds: ["staff002"] } });
    expect(bridge.dingtalk.sent.at(-1)).toMatchObject({
      mentions: ["staff002"],
      text: expect.stringContaining("@staff002"),
    });
    await send(bridge, { to, content: link, mentions: { userIds: ["staff002"] } });
    expect(bridge.dingtalk.sent.at(-1)).toMatchObject({ msgtype: "link", mentions: [] });
    expect(bridge.dingtalk.sent.at(-1)?.raw).not.toHaveProperty("at");
  });
});

it("a picture in an action card is shown as one in Markdown is", async () => {
  const text = "![x](http://10.1.1.1/x.png) und Text";
  await sendContent(bridge, { ...card(1), text });
  expect(bridge.dingtalk.sent.at(-1)?.text).toBe("[x](http://10.1.1.1/x.png) und Text");
});
