import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PLAIN_COVER } from "../../src/flows/media-cover.ts";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { SentMessage, UploadedFile } from "../../src/sandbox/dingtalk-types.ts";
import { APP, TOKEN, type TestBridge, startBridge } from "../support/bridge.ts";
import { Daemon, freePort } from "../support/daemon.ts";
import {
  type FileServer,
  openDirect,
  openGroup,
  sendContent,
  send,
  startFileServer,
  uploadFile,
} from "../support/outbound.ts";
import { amrOf, mp4Of, pdfOf, pngOf, sha256 } from "../support/sample-files.ts";
import { opus, wav, webp } from "./media-samples.ts";
import { contentsOfZip } from "./media-unzip.ts";

const limits = {
  BRIDGE_LIMITS_API_PER_SECOND: "1000",
  BRIDGE_LIMITS_CONVERSATION_PER_SECOND: "1000",
  BRIDGE_LIMITS_GROUP_PER_MINUTE: "10000",
};
const authorized = { authorization: `Bearer ${TOKEN}`, connection: "close" };
const unlimited = { qps: 0, userPerMinute: 0, groupPerMinute: 0 };

let bridge: TestBridge;
let server: FileServer;

beforeAll(async () => {
  server = await startFileServer();
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    dingtalk: { knobs: unlimited },
    env: { BRIDGE_GATEWAY_URL: server.url, ...limits },
  });
  await openDirect(bridge);
});
afterAll(async () => {
  await bridge.close();
  await server.close();
});
beforeEach(() => {
  expect(bridge.dingtalk.problems).toEqual([]);
});

const last = (): SentMessage | undefined => bridge.dingtalk.sent.at(-1);
const uploads = (): readonly UploadedFile[] => bridge.dingtalk.media.uploaded;
const uploadOf = (mediaId: unknown): UploadedFile | undefined => bridge.dingtalk.media.fileOf(String(mediaId));
const rawOf = (sent: SentMessage | undefined): Record<string, string> => (sent?.raw ?? {}) as Record<string, string>;

describe("a file arrives as what it is", () => {
  it.each(["direct", "group"] as const)("a picture in a %s conversation, by the Open API", async (kind) => {
    const data = pngOf(`picture-${kind}`);
    const id = await uploadFile(bridge, data, "图 1.png");
    const to = kind === "direct" ? "user:staff001" : `conversation:${await openGroup(bridge)}`;
    expect(await send(bridge, { to, content: { type: "image", media: { id } } })).toMatchObject({
      status: "delivered",
      parts: [{ route: "open-api" }],
    });
    expect(last()).toMatchObject({ route: kind === "direct" ? "oto" : "group", msgKey: "sampleImageMsg" });
    const file = uploadOf(rawOf(last())["photoURL"]);
    expect(file).toMatchObject({ type: "image", fileName: "图 1.png", sha256: sha256(data), mimeType: "image/png" });
  });

  it("a voice message with its real duration", async () => {
    const data = amrOf("voice", 1_460);
    const id = await uploadFile(bridge, data, "a.amr");
    await sendContent(bridge, { type: "audio", media: { id } });
    expect(last()).toMatchObject({ msgKey: "sampleAudio", raw: { duration: "1460" } });
    expect(uploadOf(rawOf(last())["mediaId"])).toMatchObject({ type: "voice", sha256: sha256(data) });
  });

  it("Ogg as a voice message; as a file when the upload does not take it", async () => {
    const id = await uploadFile(bridge, opus(1_500), "a.ogg");
    await sendContent(bridge, { type: "audio", media: { id } });
    expect(last()).toMatchObject({ msgKey: "sampleAudio", raw: { duration: "1500" } });
    bridge.dingtalk.setKnobs({ uploadOgg: false });
    const other = await uploadFile(bridge, opus(2_500), "b.ogg");
    await sendContent(bridge, { type: "audio", media: { id: other } });
    bridge.dingtalk.setKnobs({ uploadOgg: true });
    expect(last()).toMatchObject({ msgKey: "sampleFile", raw: { fileType: "zip", fileName: "b.ogg.zip" } });
  });

  it("a video with duration and the plain cover, or with one of its own", async () => {
    const data = mp4Of("movie", 12_400);
    const id = await uploadFile(bridge, data, "m.mp4");
    await sendContent(bridge, { type: "video", media: { id } });
    expect(last()).toMatchObject({ msgKey: "sampleVideo", raw: { duration: "12", videoType: "mp4" } });
    expect(uploadOf(rawOf(last())["videoMediaId"])).toMatchObject({ type: "video", sha256: sha256(data) });
    expect(uploadOf(rawOf(last())["picMediaId"])).toMatchObject({ type: "image", sha256: sha256(PLAIN_COVER) });
    const picture = pngOf("cover");
    const cover = await uploadFile(bridge, picture, "c.png");
    await sendContent(bridge, { type: "video", media: { id }, cover: { id: cover } });
    expect(uploadOf(rawOf(last())["picMediaId"])).toMatchObject({ sha256: sha256(picture) });
  });

  it("a video whose cover cannot be had, with the plain one", async () => {
    const id = await uploadFile(bridge, mp4Of("coverless"), "m.mp4");
    const cover = { url: `${server.url}/no-such-cover.png` };
    expect(await sendContent(bridge, { type: "video", media: { id }, cover })).toMatchObject({ status: "delivered" });
    expect(uploadOf(rawOf(last())["picMediaId"])).toMatchObject({ sha256: sha256(PLAIN_COVER) });
  });

  it("a PDF under the name that is asked for, with its extension", async () => {
    const data = pdfOf("report");
    const id = await uploadFile(bridge, data, "x.pdf");
    await sendContent(bridge, { type: "file", media: { id }, fileName: "../../报告 2026" });
    expect(last()).toMatchObject({ msgKey: "sampleFile", raw: { fileName: "报告 2026.pdf", fileType: "pdf" } });
    expect(uploadOf(rawOf(last())["mediaId"])).toMatchObject({ type: "file", sha256: sha256(data) });
  });

  it.each([
    ["image", "w.webp", webp(20, 10, "VP8L")],
    ["image", "not-a-picture.txt", Buffer.from("words")],
    ["audio", "a.wav", wav(1_000)],
    ["file", "notes.txt", Buffer.from("一些文字\n")],
    ["file", "table.csv", Buffer.from("a,b\n1,2\n")],
    ["file", "page.html", Buffer.from("<!doctype html><script>1</script>")],
    ["file", "picture.png", pngOf("as a file")],
    ["video", "broken.mp4", mp4Of("no duration", 0)],
  ])("%s %s packed, because DingTalk would refuse it", async (type, name, data) => {
    const id = await uploadFile(bridge, data, name);
    expect(await sendContent(bridge, { type, media: { id } })).toMatchObject({ status: "delivered" });
    expect(last()).toMatchObject({ msgKey: "sampleFile", raw: { fileName: `${name}.zip`, fileType: "zip" } });
    const file = uploadOf(rawOf(last())["mediaId"]);
    expect(file).toMatchObject({ type: "file", fileName: `${name}.zip` });
    expect(contentsOfZip(file?.data ?? Buffer.alloc(0))).toEqual([{ name, data }]);
  });
});

describe("a file by its URL", () => {
  it("is fetched from the gateway's own origin when it is sent, and its name taken from there", async () => {
    const data = pdfOf("by url");
    server.files.set("/out/quarter.pdf", data);
    const state = await sendContent(bridge, {
      type: "file",
      media: { url: `${server.url}/out/quarter.pdf?sig=s3cret` },
    });
    expect(state).toMatchObject({ status: "delivered" });
    expect(last()).toMatchObject({ msgKey: "sampleFile", raw: { fileName: "quarter.pdf", fileType: "pdf" } });
    expect(uploadOf(rawOf(last())["mediaId"])).toMatchObject({ sha256: sha256(data) });
    expect(bridge.logs.text).not.toContain("s3cret");
  });

  it("that is the bridge's own is its file", async () => {
    const data = pngOf("own url");
    const id = await uploadFile(bridge, data, "own.png");
    const state = await sendContent(bridge, { type: "image", media: { url: `${bridge.url}/v1/media/${id}` } });
    expect(state).toMatchObject({ status: "delivered" });
    expect(uploadOf(rawOf(last())["photoURL"])).toMatchObject({ sha256: sha256(data) });
  });

  it("is refused when it leads into the own network: a dead letter, and a line in the conversation", async () => {
    const url = "http://127.0.0.1:22/private/plan.pdf";
    const state = await sendContent(bridge, { type: "file", media: { url } });
    expect(state).toMatchObject({ status: "dead", error: { code: "media_url_refused" } });
    await expect.poll(() => last()?.text).toContain("文件未能发送");
    expect(last()).toMatchObject({ route: "webhook", text: expect.stringContaining("plan.pdf") });
    const list = (await (await bridge.api("GET", "/v1/dead-letters")).json()) as { deadLetters: object[] };
    expect(list.deadLetters[0]).toMatchObject({ id: state.id, kind: "file", error: { code: "media_url_refused" } });
  });

  it("is tried again when the server fails for now", async () => {
    let left = 1;
    server.files.set("/flaky.png", (_request, response) => {
      left -= 1;
      response.writeHead(left >= 0 ? 503 : 200, { connection: "close" }).end(pngOf("flaky"));
    });
    const state = await sendContent(bridge, { type: "image", media: { url: `${server.url}/flaky.png` } });
    expect(state).toMatchObject({ status: "delivered", attempts: 1 });
  });

  it("is fetched once for a message that is sent in several attempts", async () => {
    server.files.set("/once.png", pngOf("once"));
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "systemError", count: 2 });
    const state = await sendContent(bridge, { type: "image", media: { url: `${server.url}/once.png` } });
    expect(state).toMatchObject({ status: "delivered", attempts: 2 });
    expect(server.asked.filter((path) => path === "/once.png")).toHaveLength(1);
    expect(uploads().filter((file) => file.sha256 === sha256(pngOf("once")))).toHaveLength(1);
  });

  it("is too large as soon as more than 20 MB came", async () => {
    server.files.set("/large.bin", (_request, response) => {
      response.writeHead(200, { connection: "close" });
      const chunk = Buffer.alloc(1_024 * 1_024, 1);
      let sent = 0;
      const more = (): void => {
        sent += 1;
        if (sent > 40 || response.destroyed) response.end();
        else if (response.write(chunk)) setImmediate(more);
        else response.once("drain", more);
      };
      response.on("error", () => undefined);
      more();
    });
    const state = await sendContent(bridge, { type: "file", media: { url: `${server.url}/large.bin` } });
    expect(state).toMatchObject({ status: "dead", error: { code: "media_too_large" } });
  });
});

describe("slow files", () => {
  it("keep neither other conversations waiting nor one another for ever", async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const people = Array.from({ length: 40 }, (_, n) => `slow${n}`);
    for (const person of people) {
      server.files.set(`/${person}.png`, (_request, response) => {
        void released.then(() => response.writeHead(200, { connection: "close" }).end(pngOf(person)));
      });
      await (await bridge.dingtalk.say({ text: "hi", from: person })).acked();
    }
    const before = server.asked.length;
    const sends = people.map((person) => {
      const content = { type: "image", media: { url: `${server.url}/${person}.png` } };
      return send(bridge, { to: `user:${person}`, content });
    });
    await expect.poll(() => server.asked.length - before).toBe(16);
    const commits = async (): Promise<number> => {
      const metrics = await (await bridge.api("GET", "/metrics")).text();
      return Number(/^dingtalk_bridge_store_commit_operations_total\S* (\d+)/m.exec(metrics)?.[1]);
    };
    const committed = await commits();
    expect(await sendContent(bridge, { type: "text", text: "dazwischen" })).toMatchObject({ status: "delivered" });
    expect(server.asked.length - before).toBe(16);
    // Those that wait for a slot are left alone meanwhile.
    expect((await commits()) - committed).toBeLessThan(20);
    release();
    const states = await Promise.all(sends);
    expect(states.filter(({ status }) => status === "delivered")).toHaveLength(40);
    expect(server.asked.length - before).toBe(40);
  });
});

describe("uploads", () => {
  it("happen once for the same bytes, by id or by URL, also when two go out at once", async () => {
    const data = pngOf("cached");
    server.files.set("/cached.png", data);
    const ids = await Promise.all(["a.png", "b.png"].map((name) => uploadFile(bridge, data, name)));
    const contents = [
      ...ids.map((id) => ({ type: "image", media: { id } })),
      { type: "image", media: { url: `${server.url}/cached.png` } },
    ];
    await Promise.all(contents.map((content, n) => send(bridge, { to: `user:staff00${(n % 2) + 1}`, content })));
    await sendContent(bridge, contents[0] ?? {});
    expect(uploads().filter((file) => file.sha256 === sha256(data))).toHaveLength(1);
    expect(bridge.dingtalk.sent.filter(({ msgKey }) => msgKey === "sampleImageMsg").length).toBeGreaterThan(3);
  });

  it("are known after a restart; what is packed too", async () => {
    const id = await uploadFile(bridge, Buffer.from("packed and known"), "known.txt");
    await sendContent(bridge, { type: "file", media: { id } });
    const before = uploads().length;
    await bridge.restart();
    expect(await sendContent(bridge, { type: "file", media: { id } })).toMatchObject({ status: "delivered" });
    expect(uploads()).toHaveLength(before);
  });

  it("are made anew, once, when DingTalk has forgotten the id", async () => {
    const data = mp4Of("forgotten");
    const id = await uploadFile(bridge, data, "f.mp4");
    await sendContent(bridge, { type: "video", media: { id } });
    bridge.dingtalk.faults.forgetMedia();
    expect(await sendContent(bridge, { type: "video", media: { id } })).toMatchObject({
      status: "delivered",
      attempts: 0,
    });
    expect(uploads().filter((file) => file.sha256 === sha256(data))).toHaveLength(2);
    // One that is never accepted is a dead letter and no loop.
    const body = { code: "invalid.media.id", message: "无效的媒体id" };
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "answer", status: 400, body, count: 2 });
    const state = await sendContent(bridge, { type: "video", media: { id } });
    expect(state).toMatchObject({ status: "dead", error: { code: "media_expired" } });
    expect(uploads().filter((file) => file.sha256 === sha256(data))).toHaveLength(3);
  });

  it("without an answer are made again, and nothing is uncertain", async () => {
    const id = await uploadFile(bridge, pngOf("reset"), "r.png");
    bridge.dingtalk.faults.api("media/upload", { kind: "reset", count: 1 });
    const state = await sendContent(bridge, { type: "image", media: { id } });
    expect(state).toMatchObject({ status: "delivered" });
    expect(state.uncertain).toBeUndefined();
  });

  it("and sends are counted, each in its class", async () => {
    const id = await uploadFile(bridge, pngOf("counted"), "c.png");
    const counts = async (): Promise<Record<string, number>> => {
      const metrics = await (await bridge.api("GET", "/metrics")).text();
      const calls = /dingtalk_bridge_quota_used\{[^}]*budget="calls"[^}]*\} (\d+)/.exec(metrics)?.[1];
      return { calls: Number(calls) };
    };
    const before = await counts();
    await sendContent(bridge, { type: "image", media: { id } });
    expect(await counts()).toEqual({ calls: (before["calls"] ?? 0) + 2 });
  });
});

describe("a caption", () => {
  it("stands behind its file and @-s people where only it can", async () => {
    const group = await openGroup(bridge);
    const id = await uploadFile(bridge, pngOf("captioned"), "c.png");
    const before = bridge.dingtalk.sent.length;
    const state = await send(bridge, {
      to: `conversation:${group}`,
      content: { type: "image", media: { id }, caption: "**看图** 说话" },
      mentions: { userIds: ["staff002"] },
    });
    expect(state.parts.map(({ route }) => route)).toEqual(["open-api", "webhook"]);
    expect(bridge.dingtalk.sent.slice(before)).toMatchObject([
      { msgKey: "sampleImageMsg", conversationId: group },
      { msgtype: "markdown", mentions: ["staff002"], text: expect.stringContaining("**看图** 说话") },
    ]);
  });

  it("goes out in its place when the file is refused, once, and not again at a replay", async () => {
    const content = { type: "image", media: { url: "http://10.0.0.1/x.png" }, caption: "没有图的说明" };
    const [state] = await Promise.all([
      sendContent(bridge, content),
      sendContent(bridge, { type: "text", text: "之后" }),
    ]);
    expect(state).toMatchObject({
      status: "dead",
      error: { code: "media_url_refused" },
      deliveredParts: "1 of 2",
    });
    await bridge.api("POST", `/v1/dead-letters/${state.id}/replay`);
    await expect
      .poll(async () => (await (await bridge.api("GET", `/v1/messages/${state.id}`)).json()) as object)
      .toMatchObject({ status: "dead" });
    await sendContent(bridge, { type: "text", text: "zuletzt" });
    const texts = bridge.dingtalk.sent.map(({ text }) => text);
    expect(texts.slice(-3)).toEqual(["没有图的说明", "之后", "zuletzt"]);
  });

  it("goes out on its own when the attempts are used up", async () => {
    const id = await uploadFile(bridge, pngOf("never"), "never.png");
    const body = { code: "some.code.nobody.knows", message: "?" };
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "answer", status: 400, body });
    const message = { to: "user:staff002", content: { type: "image", media: { id }, caption: "这里应有一张图" } };
    const response = await bridge.api("POST", "/v1/messages", message, { prefer: "wait=60" });
    expect(await response.json()).toMatchObject({ status: "dead", error: { code: "attempts_exhausted" } });
    bridge.dingtalk.faults.clear();
    await expect.poll(() => last()?.text, { timeout: 20_000 }).toBe("这里应有一张图");
  }, 90_000);
});

describe("a crash", () => {
  it("between upload and send neither loses nor doubles: the upload is known, the message goes out once", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "bridge-crash-"));
    const dingtalk = await startDingtalkSimulator({ apps: [APP] });
    const port = await freePort();
    const daemon = new Daemon({
      DINGTALK_APP_KEY: APP.appKey,
      DINGTALK_APP_SECRET: APP.appSecret,
      DINGTALK_API_BASE: dingtalk.url,
      DINGTALK_OAPI_BASE: dingtalk.url,
      BRIDGE_GATEWAY_URL: server.url,
      BRIDGE_PORT: String(port),
      BRIDGE_DATA_DIR: dataDir,
    });
    const process = { url: `http://127.0.0.1:${port}` };
    const state = async (id: string): Promise<unknown> =>
      (await fetch(`${process.url}/v1/messages/${id}`, { headers: authorized })).json();
    try {
      const connected = dingtalk.waitFor("connected", undefined, 20_000);
      daemon.start();
      await connected;
      const id = await uploadFile(process, pngOf("interrupted"), "i.png");
      dingtalk.faults.api("oToMessages/batchSend", { kind: "hang", count: 1 });
      const accepted = await fetch(`${process.url}/v1/messages`, {
        method: "POST",
        headers: { ...authorized, "content-type": "application/json" },
        body: JSON.stringify({ to: "user:staff001", content: { type: "image", media: { id }, caption: "danach" } }),
      });
      const message = (await accepted.json()) as { id: string };
      await expect.poll(() => dingtalk.calls({ api: "oToMessages/batchSend" }), { timeout: 10_000 }).toHaveLength(1);
      await daemon.kill();
      expect(dingtalk.media.uploaded).toHaveLength(1);
      expect(dingtalk.sent).toEqual([]);
      daemon.start();
      await expect
        .poll(() => state(message.id).catch(() => undefined), { timeout: 20_000 })
        .toMatchObject({ status: "delivered" });
      expect(dingtalk.media.uploaded).toHaveLength(1);
      expect(dingtalk.sent.map(({ msgKey, text }) => `${msgKey} ${text}`)).toEqual([
        "sampleImageMsg ",
        "sampleMarkdown danach",
      ]);
      expect(await daemon.stop()).toBe(0);
    } finally {
      await daemon.kill();
      await dingtalk.close();
      rmSync(dataDir, { recursive: true, force: true });
    }
  }, 60_000);
});
