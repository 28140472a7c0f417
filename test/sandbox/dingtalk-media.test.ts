import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Agent, request } from "undici";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { controlSimulator } from "../../src/sandbox/dingtalk-control.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, appKey, call, connect, token, type Answer } from "./dingtalk-client.ts";

const other = { appKey: "dingapp2", appSecret: "secret-2" };
const MB = 1024 * 1024;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes of buffers that somebody still holds. What one collection finds is given back by the next. */
function liveBytes(): number {
  collect();
  collect();
  return process.memoryUsage().arrayBuffers;
}

let sim: DingtalkSimulator;
beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app, other], knobs: { qps: 0 } });
  (await connect(sim)).autoAck();
});
afterEach(() => sim.close());

interface Upload {
  type?: string;
  name?: string;
  data?: Buffer;
  part?: string;
  fields?: Record<string, string>;
  accessToken?: string;
}

async function upload(wanted: Upload = {}): Promise<Record<string, unknown>> {
  const { type = "image", name = "a.png", data = Buffer.from("picture"), part = "media", fields = {} } = wanted;
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) form.append(key, value);
  form.append(part, new Blob([new Uint8Array(data)], { type: "image/png" }), name);
  const query = new URLSearchParams({ access_token: wanted.accessToken ?? (await token(sim)) });
  if (type !== "") query.set("type", type);
  const response = await fetch(`${sim.url}/media/upload?${query.toString()}`, { method: "POST", body: form });
  expect(response.status).toBe(200);
  return (await response.json()) as Record<string, unknown>;
}

const idOf = async (wanted: Upload): Promise<string> => String((await upload(wanted))["media_id"]);

async function sendUser(msgKey: string, param: object): Promise<Answer> {
  const body = { robotCode: appKey, userIds: ["staff001"], msgKey, msgParam: JSON.stringify(param) };
  return call(sim, "/v1.0/robot/oToMessages/batchSend", body, { "x-acs-dingtalk-access-token": await token(sim) });
}

describe("media/upload", () => {
  it("takes a file, gives a media id and remembers what it was", async () => {
    const answer = await upload({ data: Buffer.from("钉钉"), name: "图.png" });
    expect(answer).toEqual({
      errcode: 0,
      errmsg: "ok",
      type: "image",
      media_id: expect.stringMatching(/^@lAL/),
      created_at: expect.any(Number),
    });
    const [file] = sim.media.uploaded;
    expect(file).toEqual({
      seq: expect.any(Number),
      at: answer["created_at"],
      app: appKey,
      type: "image",
      mediaId: answer["media_id"],
      fileName: "图.png",
      mimeType: "image/png",
      bytes: 6,
      sha256: createHash("sha256").update("钉钉").digest("hex"),
      data: Buffer.from("钉钉"),
    });
    expect(sim.media.fileOf(String(answer["media_id"]))).toBe(file);
    expect(sim.requests.at(-1)).toMatchObject({ api: "media/upload", app: appKey, code: "ok", bytes: 6 });
    expect(sim.problems).toEqual([]);
  });

  it("keeps only the hash of what is larger than 1 MB", async () => {
    const data = randomBytes(MB + 1);
    await upload({ data });
    expect(sim.media.uploaded).toMatchObject([
      { bytes: MB + 1, sha256: createHash("sha256").update(data).digest("hex"), data: undefined },
    ]);
  });

  it.each<[string, Upload, number]>([
    ["an unknown type", { type: "sticker" }, 40004],
    ["no type", { type: "" }, 40004],
    ["a picture that is none", { name: "a.webp" }, 40005],
    ["a voice that is none", { type: "voice", name: "a.m4a" }, 40005],
    ["a video that is none", { type: "video", name: "a.mov" }, 40005],
    ["a file of another kind", { type: "file", name: "a.txt" }, 40005],
    ["a file without extension", { type: "file", name: "pdf" }, 40005],
    ["2 MB of voice and a byte", { type: "voice", name: "a.amr", data: Buffer.alloc(2 * MB + 1) }, 40006],
    ["20 MB of file and a byte", { type: "file", name: "a.zip", data: Buffer.alloc(20 * MB + 1) }, 40006],
    ["an empty file", { data: Buffer.alloc(0) }, 44001],
    ["a part of another name", { part: "file" }, 41005],
    ["a token that is none", { accessToken: "nonsense" }, 40014],
  ])("refuses %s", async (_what, wanted, errcode) => {
    expect(await upload(wanted)).toMatchObject({ errcode, errmsg: expect.any(String) });
    expect(sim.media.uploaded).toEqual([]);
  });

  it("takes 2 MB of voice, and the type from the form", async () => {
    const data = Buffer.alloc(2 * MB);
    expect(await upload({ type: "voice", name: "a.amr", data })).toMatchObject({ errcode: 0 });
    expect(await upload({ type: "", fields: { type: "file" }, name: "A.PDF" })).toMatchObject({ errcode: 0 });
    expect(sim.problems).toEqual([expect.stringContaining("type is not in the query")]);
  });

  it("takes ogg as voice, unless told otherwise", async () => {
    expect(await upload({ type: "voice", name: "a.ogg" })).toMatchObject({ errcode: 0 });
    sim.setKnobs({ uploadOgg: false });
    expect(await upload({ type: "voice", name: "a.ogg" })).toMatchObject({ errcode: 40005 });
  });

  it("refuses what is not multipart, and who has no permission", async () => {
    const path = `/media/upload?type=image&access_token=${await token(sim)}`;
    expect((await call(sim, path, { media: "x" })).json).toMatchObject({ errcode: 43004 });
    await sim.close();
    sim = await startDingtalkSimulator({ apps: [{ ...app, missingScopes: ["qyapi_base"] }] });
    expect(await upload()).toMatchObject({ errcode: 60011 });
  });

  it("counts as a call, is throttled, and fails like any other", async () => {
    const accessToken = await token(sim);
    await upload({ accessToken });
    expect(sim.usage().calls).toBe(1);
    sim.setKnobs({ qps: 1 });
    await upload({ accessToken });
    expect(await upload({ accessToken })).toMatchObject({ errcode: 90018 });
    sim.setKnobs({ qps: 0 });
    sim.faults.api("media/upload", { kind: "error", error: "oapiBusy", count: 1 });
    expect(await upload({ accessToken })).toMatchObject({ errcode: -1 });
    sim.faults.api("media/upload", { kind: "reset", count: 1, executed: true });
    await expect(upload({ accessToken })).rejects.toThrow("fetch failed");
    expect(sim.media.uploaded).toHaveLength(3);
  });

  it("does not hold what is uploaded", { timeout: 30_000 }, async () => {
    const agent = new Agent();
    const boundary = "b0undary";
    const chunk = Buffer.alloc(64 * 1024, 1);
    let most = 0;
    const before = liveBytes();
    const body = Readable.from(
      (function* () {
        yield `--${boundary}\r\nContent-Disposition: form-data; name="media"; filename="a.zip"\r\n\r\n`;
        for (let sent = 0; sent < 40 * MB; sent += chunk.length) {
          if (sent % (4 * MB) === 0) most = Math.max(most, liveBytes() - before);
          yield chunk;
        }
        yield `\r\n--${boundary}--\r\n`;
      })(),
    );
    const headers = { "content-type": `multipart/form-data; boundary=${boundary}` };
    const url = `${sim.url}/media/upload?type=file&access_token=${await token(sim)}`;
    const { body: answer } = await request(url, { method: "POST", body, headers, dispatcher: agent });
    expect(await answer.json()).toMatchObject({ errcode: 40006 });
    await agent.close();
    expect(sim.requests.at(-1)).toMatchObject({ api: "media/upload", bytes: 40 * MB });
    expect(most / MB).toBeLessThan(10);
  });
});

describe("a message with a media id", () => {
  it("arrives when the id is right, with the type right", async () => {
    const image = await idOf({});
    const voice = await idOf({ type: "voice", name: "a.amr" });
    const video = await idOf({ type: "video", name: "a.mp4" });
    const file = await idOf({ type: "file", name: "a.pdf" });
    const sends: [string, object][] = [
      ["sampleImageMsg", { photoURL: image }],
      ["sampleAudio", { mediaId: voice, duration: "3000" }],
      ["sampleFile", { mediaId: file, fileName: "表格.pdf", fileType: "pdf" }],
      ["sampleVideo", { duration: "12", videoMediaId: video, videoType: "mp4", picMediaId: image }],
      [
        "sampleVideo",
        { duration: "1", videoMediaId: video, videoType: "mp4", picMediaId: image, width: "3", height: "2" },
      ],
    ];
    for (const [msgKey, param] of sends) expect(await sendUser(msgKey, param)).toMatchObject({ status: 200 });
    expect(sim.sent.map(({ msgKey, raw }) => [msgKey, raw])).toEqual(sends);
  });

  it("is refused when the id is of another type, unknown, or forgotten", async () => {
    const image = await idOf({});
    const badId = { status: 400, json: { code: "invalid.media.id" } };
    expect(await sendUser("sampleFile", { mediaId: image, fileName: "a", fileType: "pdf" })).toMatchObject(badId);
    expect(await sendUser("sampleImageMsg", { photoURL: "@nonsense" })).toMatchObject(badId);
    sim.faults.forgetMedia(image);
    expect(await sendUser("sampleImageMsg", { photoURL: image })).toMatchObject(badId);
    expect(sim.media.fileOf(image)).toBeUndefined();
    expect(sim.sent).toEqual([]);
  });

  it("of an app of the same organisation works, of another organisation not", async () => {
    const foreign = { appKey: "dingapp3", appSecret: "secret-3", corpId: "dingcorp3" };
    await sim.close();
    sim = await startDingtalkSimulator({ apps: [app, other, foreign] });
    const idFrom = async ({ appKey, appSecret }: typeof other): Promise<string> => {
      const { json } = await call(sim, "/v1.0/oauth2/accessToken", { appKey, appSecret });
      return idOf({ accessToken: String(json["accessToken"]) });
    };
    expect((await sendUser("sampleImageMsg", { photoURL: await idFrom(other) })).status).toBe(200);
    expect((await sendUser("sampleImageMsg", { photoURL: await idFrom(foreign) })).status).toBe(400);
  });

  it.each([
    ["sampleAudio", { duration: 3_000 }, "param"],
    ["sampleAudio", { duration: "3s" }, "msgParam"],
    ["sampleAudio", { duration: "0" }, "msgParam"],
    ["sampleVideo", { videoType: "mov" }, "msgParam"],
    ["sampleVideo", { picMediaId: "" }, "param"],
    ["sampleVideo", { width: 320 }, "msgParam"],
    ["sampleFile", { fileType: "txt" }, "msgParam"],
  ])("%s refuses %j", async (msgKey, wrong, what) => {
    const param = {
      mediaId: await idOf(
        msgKey === "sampleAudio" ? { type: "voice", name: "a.amr" } : { type: "file", name: "a.pdf" },
      ),
      videoMediaId: await idOf({ type: "video", name: "a.mp4" }),
      picMediaId: await idOf({}),
      duration: "3",
      videoType: "mp4",
      fileName: "a.pdf",
      fileType: "pdf",
    };
    expect((await sendUser(msgKey, param)).status).toBe(200);
    const code = `invalidParameter.${what}.invalid`;
    expect(await sendUser(msgKey, { ...param, ...wrong })).toMatchObject({ status: 400, json: { code } });
  });

  it("in Markdown that nobody knows is a problem, by either road", async () => {
    const { sessionWebhook } = (await sim.say({ text: "hi" })).body as { sessionWebhook: string };
    const good = await idOf({});
    const text = (id: string): string => `![a](${id}) ![b](https://example.com/b.png "t")`;
    const path = sessionWebhook.replace(sim.url, "");
    await sendUser("sampleMarkdown", { title: "t", text: text(good) });
    await call(sim, path, { msgtype: "markdown", markdown: { title: "t", text: text(good) } });
    expect(sim.problems).toEqual([]);
    await sendUser("sampleMarkdown", { title: "t", text: text("@bad") });
    await call(sim, path, { msgtype: "markdown", markdown: { title: "t", text: text("@bad") } });
    expect(sim.problems).toEqual([expect.stringContaining("@bad"), expect.stringContaining("@bad")]);
    expect(sim.sent).toHaveLength(4);
  });
});

it("another process sees what was uploaded, without the bytes", async () => {
  const control = controlSimulator(sim.url);
  await upload();
  const [first] = await control.uploaded();
  expect(first).toMatchObject({ type: "image", bytes: 7 });
  expect(first).not.toHaveProperty("data");
  expect(await control.uploaded(first?.seq)).toEqual([]);
});

it("a reset forgets the list of uploads, not the media ids", async () => {
  const photoURL = await idOf({});
  sim.reset();
  expect(sim.media.uploaded).toEqual([]);
  expect((await sendUser("sampleImageMsg", { photoURL })).status).toBe(200);
});
