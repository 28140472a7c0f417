import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import type { EnvelopeMessage, MediaPart, MessagePart } from "../../src/domain/envelope.ts";
import { knobPresets } from "../../src/sandbox/dingtalk-knobs.ts";
import type { SaidMessage } from "../../src/sandbox/dingtalk-types.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { amrOf, mp4Of, pdfOf, pngOf, sha256 } from "../support/sample-files.ts";

let bridge: TestBridge;
afterEach(() => bridge.close());

/** Tries follow one another at once. */
const mediaTimings = { delaysMs: [1, 1] };

const unlimited = { dingtalk: { knobs: knobPresets.unlimited }, env: { BRIDGE_LIMITS_API_PER_SECOND: "1000" } };

async function start(options: Parameters<typeof startBridge>[0] = {}): Promise<void> {
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, ...options });
}

async function say(said: SaidMessage): Promise<void> {
  await (await bridge.dingtalk.say(said)).acked();
}

const messages = (): EnvelopeMessage[] =>
  bridge.gateway.taken.flatMap((envelope) => (envelope.type === "message" ? [envelope.message] : []));

/** What the gateway took next, once there is so much. */
async function nth(n: number): Promise<EnvelopeMessage> {
  await expect.poll(() => messages().length, { timeout: 10_000 }).toBeGreaterThanOrEqual(n);
  const message = messages()[n - 1];
  if (!message) throw new Error("no message");
  return message;
}

const files = (parts: readonly MessagePart[]): MediaPart[] =>
  parts.flatMap((part) => (part.type === "text" ? [] : [part]));

/** Hash of what the gateway gets when it follows the link. */
async function fetched(part: MediaPart | undefined): Promise<string> {
  expect(part).toMatchObject({ media: { url: expect.stringContaining(bridge.url) as string } });
  expect(part).not.toHaveProperty("error");
  const url = new URL(part?.media?.url ?? "");
  const response = await bridge.api("GET", url.pathname);
  expect(response.status).toBe(200);
  const bytes = new Uint8Array(await response.arrayBuffer());
  expect(bytes.byteLength).toBe(part?.media?.bytes);
  return sha256(bytes);
}

const requests = (api: string): number => bridge.dingtalk.requests.filter((request) => request.api === api).length;

/** A stream that gives its bytes when the test says so. */
function slow(bytes: Buffer): { file: { data: () => Readable; bytes: number }; goOn: () => void } {
  const gate = Promise.withResolvers<void>();
  const data = (): Readable =>
    Readable.from(
      (async function* () {
        await gate.promise;
        yield bytes;
      })(),
    );
  return { file: { data, bytes: bytes.byteLength }, goOn: gate.resolve };
}

describe("what people send", () => {
  it.each([
    ["picture", pngOf("p"), "image", { mimeType: "image/png" }],
    ["file", pdfOf("f"), "file", { mimeType: "application/pdf", fileName: "方案.pdf" }],
    ["audio", amrOf("a", 1_000), "audio", { mimeType: "audio/amr", durationMs: 1_000 }],
    ["video", mp4Of("v", 2_000), "video", { mimeType: "video/mp4", durationMs: 2_000 }],
  ])("%s arrives byte by byte", async (msgtype, bytes, type, about) => {
    await start();
    await say({ msgtype, file: bytes, ...(msgtype === "file" && { text: "方案.pdf" }) });
    const { parts } = await nth(1);
    expect(parts).toMatchObject([{ type, media: { bytes: bytes.byteLength, ...about } }]);
    expect(await fetched(files(parts)[0])).toBe(sha256(bytes));
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("pictures of a rich text arrive between its words, each in its place", async () => {
    await start();
    const pictures = [pngOf("one"), pngOf("two")];
    await say({ msgtype: "richText", text: "请比较：", file: pictures, group: "测试群" });
    const { parts, text } = await nth(1);
    expect(parts.map(({ type }) => type)).toEqual(["text", "image", "image", "text"]);
    expect(text).toBe("请比较：\n以上");
    const [first, second] = files(parts);
    expect([await fetched(first), await fetched(second)]).toEqual(pictures.map(sha256));
  });

  it("a quoted picture arrives with the quote", async () => {
    await start();
    const picture = pngOf("quoted");
    const { downloadCode } = bridge.dingtalk.media.offer({ data: picture });
    const repliedMsg = { msgId: "msgQuoted==", msgType: "picture", senderNick: "李四", content: { downloadCode } };
    await say({ content: { content: "这是什么？", isReplyMsg: true, repliedMsg } });
    const { text, quote } = await nth(1);
    expect([text, quote?.sender?.name]).toEqual(["这是什么？", "李四"]);
    expect(await fetched(files(quote?.parts ?? [])[0])).toBe(sha256(picture));
  });

  it("files of a forwarded record arrive, each fetched once however often it is in there", async () => {
    await start();
    const [picture, document] = [pngOf("record"), pdfOf("record")];
    const [one, two] = [picture, document].map((data) => bridge.dingtalk.media.offer({ data }).downloadCode);
    const chatRecord = [
      { senderName: "张三", msgType: "text", content: "看" },
      { senderName: "张三", msgType: "picture", content: { downloadCode: one } },
      { senderName: "李四", msgType: "file", content: { downloadCode: two, fileName: "a.pdf" } },
      { senderName: "李四", msgType: "picture", content: { downloadCode: one } },
    ];
    const summary = '["张三:看","张三:[图片]","李四:[文件]","李四:[图片]"]';
    await say({
      msgtype: "chatRecord",
      content: { title: "聊天记录", summary, chatRecord: JSON.stringify(chatRecord) },
      payload: { isForwardMsg: "1" },
    });
    const { parts } = await nth(1);
    expect(await Promise.all(files(parts).map(fetched))).toEqual([picture, document, picture].map(sha256));
    expect(requests("messageFiles/download")).toBe(2);
  });

  it("is fetched once, however often DingTalk repeats the message and the gateway is asked", async () => {
    await start({ gateway: { mode: { kind: "answer", status: 503 } } });
    bridge.dingtalk.faults.duplicateAcked(1, 1);
    await say({ msgtype: "picture", file: pngOf("once") });
    await expect.poll(() => bridge.gateway.received.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(2);
    bridge.gateway.mode = { kind: "silent" };
    await nth(1);
    expect(requests("messageFiles/download")).toBe(1);
    expect(requests("file")).toBe(1);
  });
});

describe("order", () => {
  it("is kept behind a slow picture; other conversations go on", async () => {
    await start();
    const { file, goOn } = slow(pngOf("slow"));
    await say({ msgtype: "picture", file });
    await say({ text: "second" });
    await say({ text: "third" });
    await say({ text: "elsewhere", group: "测试群" });
    await say({ text: "also elsewhere", from: "staff002" });
    const texts = (): string[] => messages().map(({ text }) => text);
    await expect.poll(() => texts().toSorted()).toEqual(["also elsewhere", "elsewhere"]);
    goOn();
    await expect.poll(() => texts().slice(2)).toEqual(["", "second", "third"]);
  });

  it("a hundred slow pictures in other conversations keep nobody's words waiting", async () => {
    await start({ ...unlimited });
    const { file, goOn } = slow(pngOf("slow"));
    for (let n = 0; n < 100; n += 1) await say({ msgtype: "picture", file, group: `群 ${n}` });
    await say({ text: "words", group: "测试群" });
    expect((await nth(1)).text).toBe("words");
    expect(messages()).toHaveLength(1);
    goOn();
    await expect.poll(() => messages().length, { timeout: 10_000 }).toBe(101);
    expect(
      messages()
        .flatMap(({ parts }) => files(parts))
        .every(({ media }) => media),
    ).toBe(true);
  });

  it("a message behind one that the gateway holds waits for its own picture", async () => {
    await start({ gateway: { mode: { kind: "held", times: 2, retryAfterS: 1 } } });
    const { file, goOn } = slow(pngOf("slow"));
    await say({ text: "held" });
    await expect.poll(() => bridge.gateway.received.length).toBe(1);
    await say({ msgtype: "picture", file });
    await say({ text: "last" });
    await expect.poll(() => bridge.gateway.received.length).toBeGreaterThanOrEqual(2);
    expect(new Set(bridge.gateway.received.map(({ envelope }) => envelope.id)).size).toBe(1);
    goOn();
    await expect.poll(() => messages().map(({ text }) => text), { timeout: 15_000 }).toEqual(["held", "", "last"]);
    expect(messages()[1]?.parts).toMatchObject([{ type: "image", media: {} }]);
  });
});

it("what the gateway holds is not asked about again while a file behind it is on its way", async () => {
  const mode = { kind: "held" as const, times: 1_000, retryAfterS: 60 };
  // Long enough for several looks.
  await start({ gateway: { mode }, overrides: { mediaTimings: { delaysMs: [1_500, 1_500] } } });
  const posted = (): string[] => bridge.gateway.received.map(({ envelope }) => envelope.id);
  await say({ text: "held" });
  await expect.poll(posted).toHaveLength(1);
  bridge.dingtalk.faults.api("file", { kind: "shortBody", count: 2 });
  await say({ msgtype: "picture", file: pngOf("behind") });
  await expect.poll(() => new Set(posted()).size, { timeout: 15_000 }).toBe(2);
  // At its push, when the picture looked in vain, and when it was there. A machine that stands still may see one more.
  const ids = posted();
  const picture = ids.find((id) => id !== ids[0]) ?? "";
  expect(ids.indexOf(picture)).toBeLessThanOrEqual(4);
});

describe("time", () => {
  it("the gateway is away until the download code is worthless: the picture is there", async () => {
    await start();
    await bridge.gateway.crash();
    const picture = pngOf("early");
    // Ahead of it in its lane: no attempt is made at the picture's message.
    await say({ text: "first" });
    await say({ msgtype: "picture", file: picture });
    await expect.poll(() => requests("file")).toBe(1);
    await expect.poll(() => readdirSync(join(bridge.dataDir, "media"))).toHaveLength(1);
    bridge.dingtalk.faults.expireDownloads();
    await bridge.gateway.comeBack();
    expect(await fetched(files((await nth(2)).parts)[0])).toBe(sha256(picture));
  });

  it("a restart amid a download: it is fetched afterwards, and the order is kept", async () => {
    await start();
    const picture = pngOf("restart");
    const { file, goOn } = slow(picture);
    await say({ msgtype: "picture", file });
    await say({ text: "behind" });
    await expect.poll(() => requests("file")).toBe(1);
    await bridge.restart();
    goOn();
    expect(await fetched(files((await nth(1)).parts)[0])).toBe(sha256(picture));
    expect((await nth(2)).text).toBe("behind");
    expect(readdirSync(join(bridge.dataDir, "media"))).toHaveLength(1);
  });

  it("a stop word ends the wait for a picture", async () => {
    await start();
    const { file } = slow(pngOf("never"));
    await say({ msgtype: "picture", file });
    await say({ text: "/stop" });
    await say({ text: "go on" });
    await expect.poll(() => messages().map(({ text }) => text)).toEqual(["/stop", "go on"]);
    expect(requests("file")).toBe(1);
  });
});

describe("a file that cannot be had", () => {
  const reason = async (): Promise<MediaPart | undefined> => files((await nth(1)).parts)[0];

  it("a code that DingTalk does not take is final at once, and the message comes", async () => {
    await start({ overrides: { mediaTimings } });
    await say({ msgtype: "file", content: { downloadCode: "gone", fileName: "a.pdf" } });
    const part = await reason();
    expect(part).toMatchObject({ type: "file", fileName: "a.pdf", error: { code: "media_expired" } });
    expect(part).not.toHaveProperty("media");
    expect(requests("messageFiles/download")).toBe(1);
  });

  it("the object store refuses three times: not fetched, with the words beside it", async () => {
    await start({ overrides: { mediaTimings } });
    bridge.dingtalk.faults.api("file", { kind: "answer", status: 500, body: "" });
    await say({ msgtype: "richText", text: "看", file: pngOf("x") });
    expect(await reason()).toMatchObject({ type: "image", error: { code: "media_not_fetched" } });
    expect((await nth(1)).text).toBe("看\n以上");
    expect(requests("file")).toBe(3);
  });

  it("two failures of either step, then it is there", async () => {
    await start({ overrides: { mediaTimings } });
    bridge.dingtalk.faults.api("messageFiles/download", { kind: "reset", count: 1 });
    bridge.dingtalk.faults.api("file", { kind: "shortBody", count: 1 });
    const picture = pngOf("third time");
    await say({ msgtype: "picture", file: picture });
    expect(await fetched(await reason())).toBe(sha256(picture));
  });

  it.each(["messageFiles/download", "file"])("%s hangs: given up within its time", async (api) => {
    await start({ overrides: { mediaTimings: { ...mediaTimings, tryMs: 100 } } });
    bridge.dingtalk.faults.api(api, { kind: "hang" });
    await say({ msgtype: "picture", file: pngOf("x") });
    expect(await reason()).toMatchObject({ error: { code: "media_not_fetched" } });
    expect(requests(api)).toBe(3);
  });

  it("a body that stops midway is given up within its time, and leaves nothing", async () => {
    await start({ overrides: { mediaTimings: { ...mediaTimings, tryMs: 100 } } });
    bridge.dingtalk.faults.api("file", { kind: "stall" });
    await say({ msgtype: "picture", file: pngOf("x", 100_000) });
    expect(await reason()).toMatchObject({ error: { code: "media_not_fetched" } });
    expect(readdirSync(join(bridge.dataDir, "media"))).toEqual([]);
  });

  it.each([
    ["announced", true],
    ["not announced", false],
  ])("one that is too large, %s", async (_name, announced) => {
    await start({ env: { BRIDGE_MEDIA_MAX_MB: "1" }, overrides: { mediaTimings } });
    const bytes = 1_024 * 1_024 + 1;
    const data = (): Readable => Readable.from([Buffer.alloc(bytes)], { objectMode: false });
    const { downloadCode } = bridge.dingtalk.media.offer({ data, ...(announced && { bytes }) });
    await say({ msgtype: "file", content: { downloadCode, fileName: "big.bin" } });
    expect(await reason()).toMatchObject({ fileName: "big.bin", error: { code: "media_too_large" } });
    expect(requests("messageFiles/download")).toBe(1);
    expect(readdirSync(join(bridge.dataDir, "media"))).toEqual([]);
  });

  it("while the disk is nearly full: the message comes without", async () => {
    const MB = 1_024 * 1_024;
    await start({ overrides: { watch: { everyMs: 50, freeBytes: () => Promise.resolve(150 * MB) } } });
    await say({ msgtype: "picture", file: pngOf("x") });
    expect(await reason()).toMatchObject({ error: { code: "disk_low" } });
    expect(requests("messageFiles/download")).toBe(0);
  });

  it("a message with more files than one may cost brings the first of them", async () => {
    await start({ ...unlimited });
    const richText = Array.from({ length: 60 }, (_, n) => ({
      type: "picture",
      downloadCode: bridge.dingtalk.media.offer({ data: pngOf(`many ${n}`) }).downloadCode,
    }));
    await say({ msgtype: "richText", content: { richText } });
    const parts = files((await nth(1)).parts);
    expect(parts.filter(({ media }) => media)).toHaveLength(50);
    expect(parts.slice(50).map(({ error }) => error?.code)).toEqual(
      Array.from({ length: 10 }, () => "media_not_fetched"),
    );
  });
});

describe("what stays inside", () => {
  it("download codes and signed addresses are in no envelope and in no log line", async () => {
    await start({ env: { BRIDGE_GATEWAY_INCLUDE_RAW: "true" }, overrides: { mediaTimings } });
    bridge.dingtalk.faults.api("file", { kind: "answer", status: 403, body: "", count: 1 });
    const codes = ["one", "two"].map((seed) => bridge.dingtalk.media.offer({ data: pngOf(seed) }).downloadCode);
    await say({
      msgtype: "richText",
      content: { richText: [{ type: "picture", downloadCode: codes[0], pictureDownloadCode: codes[1] }] },
    });
    await say({
      msgtype: "picture",
      content: JSON.stringify({ downloadCode: codes[0], pictureDownloadCode: codes[1] }),
    });
    expect((await nth(1)).raw).toMatchObject({
      content: { richText: [{ downloadCode: "[removed]", pictureDownloadCode: "[removed]" }] },
    });
    expect((await nth(2)).raw).toMatchObject({
      content: '{"downloadCode":"[removed]","pictureDownloadCode":"[removed]"}',
    });
    const sent = JSON.stringify(bridge.gateway.received);
    for (const code of codes) {
      expect(sent).not.toContain(code);
      expect(bridge.logs.text).not.toContain(code);
    }
    expect(bridge.logs.text).not.toContain("Signature=");
  });

  it("events are acked and go nowhere", async () => {
    await start();
    const handle = await bridge.dingtalk.push({
      type: "EVENT",
      topic: "*",
      data: { processQueryKey: "k" },
      headers: { eventId: "e1", eventType: "robot_msg_read" },
    });
    if (handle.delivered) expect((await handle.acked()).data).toMatchObject({ status: "SUCCESS" });
    await say({ text: "words" });
    expect(await nth(1)).toMatchObject({ text: "words" });
    expect(bridge.gateway.received).toHaveLength(1);
  });
});
