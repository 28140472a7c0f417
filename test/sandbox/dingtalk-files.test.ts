import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { fileTypeFromBuffer } from "file-type";
import { parseBuffer } from "music-metadata";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { controlSimulator } from "../../src/sandbox/dingtalk-control.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { SaidMessage } from "../../src/sandbox/dingtalk-types.ts";
import { app, appKey, call, connect, token, type Answer } from "./dingtalk-client.ts";

const other = { appKey: "dingapp2", appSecret: "secret-2" };
const MB = 1024 * 1024;

let sim: DingtalkSimulator;
beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app, other], knobs: { qps: 0 } });
  (await connect(sim)).autoAck();
});
afterEach(() => sim.close());

async function exchange(downloadCode: unknown, more: object = {}): Promise<Answer> {
  const body = { downloadCode, robotCode: appKey, ...more };
  return call(sim, "/v1.0/robot/messageFiles/download", body, { "x-acs-dingtalk-access-token": await token(sim) });
}

async function contentOf(message: SaidMessage): Promise<Record<string, unknown>> {
  const { body } = await sim.say(message);
  return (body as { content: Record<string, unknown> }).content;
}

async function urlOf(downloadCode: unknown): Promise<string> {
  const { json } = await exchange(downloadCode);
  return String(json["downloadUrl"]);
}

async function fetched(downloadCode: unknown, headers: Record<string, string> = {}): Promise<Buffer> {
  const response = await fetch(await urlOf(downloadCode), { headers });
  expect(response.ok).toBe(true);
  return Buffer.from(await response.arrayBuffer());
}

describe("messageFiles/download", () => {
  it.each([
    ["picture", "downloadCode", "image/png"],
    ["picture", "pictureDownloadCode", "image/png"],
    ["audio", "downloadCode", "audio/amr"],
    ["video", "downloadCode", "video/mp4"],
    ["file", "downloadCode", "application/zip"],
  ])("of a %s (%s) leads to a file of the kind", async (msgtype, key, mime) => {
    const content = await contentOf({ msgtype });
    const { json } = await exchange(content[key]);
    expect(json).toEqual({
      downloadUrl: expect.stringMatching(
        new RegExp(`^${sim.url}/sandbox-files/[0-9a-f]{48}\\.file\\?Expires=\\d{10}&`),
      ),
    });
    expect(await fileTypeFromBuffer(await fetched(content[key]))).toMatchObject({ mime });
  });

  it("of the default video says how long it is", async () => {
    const { downloadCode } = await contentOf({ msgtype: "video" });
    const { format } = await parseBuffer(await fetched(downloadCode), "video/mp4");
    expect(format.trackInfo).toMatchObject([{ duration: 4 }]);
  });

  it("gives the bytes that were said: a buffer, a stream, a length, several pictures", async () => {
    const data = randomBytes(300_000);
    const chunks = (): Readable => Readable.from([data.subarray(0, 7), data.subarray(7)]);
    const file = await contentOf({ msgtype: "file", text: "报告.pdf", file: data });
    expect(file["fileName"]).toBe("报告.pdf");
    expect(await fetched(file["downloadCode"])).toEqual(data);
    const audio = await contentOf({ msgtype: "audio", file: { data: chunks, bytes: data.length } });
    expect(await fetched(audio["downloadCode"])).toEqual(data);
    expect(await fetched(audio["downloadCode"])).toEqual(data);
    const video = await contentOf({ msgtype: "video", file: { bytes: 200_000 } });
    const made = await fetched(video["downloadCode"]);
    expect(made).toHaveLength(200_000);
    expect(await fileTypeFromBuffer(made)).toMatchObject({ mime: "video/mp4" });
    const two = await contentOf({ msgtype: "richText", file: [Buffer.from("one"), Buffer.from("two")] });
    const codes = (two["richText"] as Record<string, unknown>[]).flatMap(({ downloadCode }) => downloadCode ?? []);
    expect((await Promise.all(codes.map((code) => fetched(code)))).map(String)).toEqual(["one", "two"]);
  });

  it("works for an offered file, with a length or without", async () => {
    const known = sim.media.offer({ data: Buffer.from("known") });
    expect(String(await fetched(known.downloadCode))).toBe("known");
    const { downloadCode } = sim.media.offer({ data: () => Readable.from(["a", "b"].map((s) => Buffer.from(s))) });
    const response = await fetch(await urlOf(downloadCode));
    expect(response.headers.get("content-length")).toBeNull();
    expect(await response.text()).toBe("ab");
  });

  it.each([
    [{ robotCode: "" }, "invalidParameter.robotCode.empty"],
    [{ downloadCode: "" }, "invalidParameter.robotCode.empty"],
    [{ downloadCode: "nonsense" }, "invalidParameter.robotCode.downloadCode"],
    [{ robotCode: "dingapp2" }, "invalidParameter.robotCode.auth"],
  ])("refuses %j with %s", async (more, code) => {
    const { downloadCode } = sim.media.offer({ data: Buffer.from("x") });
    expect(await exchange(downloadCode, more)).toMatchObject({ status: 400, json: { code } });
  });

  it("refuses the code of another robot, and an old one", async () => {
    const its = sim.media.offer({ data: Buffer.from("x"), app: "dingapp2" });
    expect((await exchange(its.downloadCode)).json["code"]).toBe("invalidParameter.robotCode.auth");
    const { downloadCode } = sim.media.offer({ data: Buffer.from("x") });
    expect((await exchange(downloadCode)).status).toBe(200);
    sim.faults.expireDownloads();
    expect((await exchange(downloadCode)).json["code"]).toBe("invalidParameter.robotCode.downloadCode");
    const next = sim.media.offer({ data: Buffer.from("x") });
    sim.setKnobs({ downloadCodeLifeMs: 1 });
    await expect.poll(async () => (await exchange(next.downloadCode)).status).toBe(400);
  });

  it("in a group gives each robot that is @-ed codes of its own", async () => {
    (await connect(sim, { clientId: "dingapp2", clientSecret: "secret-2" })).autoAck();
    const handle = await sim.say({ msgtype: "richText", group: "测试群", at: ["dingapp2"] });
    const codeIn = (body: unknown): unknown =>
      (body as { content: { richText: Record<string, unknown>[] } }).content.richText[1]?.["downloadCode"];
    expect((await exchange(codeIn(handle.body))).status).toBe(200);
    expect((await exchange(codeIn(handle.copies[0]?.body))).json["code"]).toBe("invalidParameter.robotCode.auth");
  });
});

describe("the file", () => {
  const data = Buffer.from("0123456789");
  const offered = (): Promise<string> => urlOf(sim.media.offer({ data }).downloadCode);

  it("is a plain GET with its length, and in parts", async () => {
    const url = await offered();
    const whole = await fetch(url);
    expect(Object.fromEntries(whole.headers)).toMatchObject({ "content-length": "10", "accept-ranges": "bytes" });
    expect(await whole.text()).toBe("0123456789");
    const part = async (range: string): Promise<[number, string | null, string]> => {
      const response = await fetch(url, { headers: { range } });
      return [response.status, response.headers.get("content-range"), await response.text()];
    };
    expect(await part("bytes=2-4")).toEqual([206, "bytes 2-4/10", "234"]);
    expect(await part("bytes=7-")).toEqual([206, "bytes 7-9/10", "789"]);
    expect(await part("bytes=-2")).toEqual([206, "bytes 8-9/10", "89"]);
    expect(await part("bytes=5-99")).toEqual([206, "bytes 5-9/10", "56789"]);
    expect(await part("bytes=10-")).toEqual([416, null, expect.stringContaining("InvalidRange")]);
    expect(await part("items=1-2")).toEqual([200, null, "0123456789"]);
  });

  it.each([
    ["bytes=3-7", "34567"],
    ["bytes=0-2", "012"],
    ["bytes=4-4", "4"],
    ["bytes=-1", "9"],
  ])("made of pieces, %s is %s", async (range, part) => {
    const pieces = (): Readable => Readable.from(["01", "234", "5", "6789"].map((piece) => Buffer.from(piece)));
    const url = await urlOf(sim.media.offer({ data: pieces, bytes: 10 }).downloadCode);
    expect(await (await fetch(url, { headers: { range } })).text()).toBe(part);
  });

  it("is gone when the address has expired, and not there without signature", async () => {
    const url = await offered();
    expect((await fetch(url.replace(/Signature=\w+/, ""))).status).toBe(403);
    expect((await fetch(url.replace(/[0-9a-f]{48}/, "0".repeat(48)))).status).toBe(403);
    sim.faults.expireDownloads();
    const gone = await fetch(url);
    expect([gone.status, await gone.text()]).toEqual([403, expect.stringContaining("Request has expired")]);
    const next = await offered();
    sim.setKnobs({ downloadUrlLifeMs: 1 });
    await expect.poll(async () => (await fetch(next)).status).toBe(403);
  });

  it("wants no token: one that is sent is a problem", async () => {
    const headers = { "x-acs-dingtalk-access-token": await token(sim) };
    await (await fetch(await offered(), { headers })).text();
    expect(sim.problems).toEqual([expect.stringContaining("credentials")]);
  });

  it("fails as planned: cut, silent in the middle, slow, refused, reset, hung", async () => {
    const plan = (fault: Parameters<typeof sim.faults.api>[1]): void => sim.faults.api("file", { ...fault, count: 1 });
    const url = await offered();
    plan({ kind: "shortBody" });
    await expect(fetch(url).then((response) => response.text())).rejects.toThrow("terminated");
    plan({ kind: "truncated" });
    expect(await (await fetch(url)).text()).toBe("01234");
    plan({ kind: "slowBody", overMs: 40 });
    expect(await (await fetch(url)).text()).toBe("0123456789");
    plan({ kind: "error", error: "unavailable" });
    expect((await fetch(url)).status).toBe(503);
    plan({ kind: "reset" });
    await expect(fetch(url)).rejects.toThrow("fetch failed");
    plan({ kind: "hang" });
    await expect(fetch(url, { signal: AbortSignal.timeout(100) })).rejects.toThrow("aborted");
    plan({ kind: "stall" });
    const leaving = new AbortController();
    const response = await fetch(url, { signal: leaving.signal });
    const reader = response.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("01234");
    expect(sim.requests.at(-1)).toMatchObject({ api: "file", status: 0, fault: "stall" });
    leaving.abort();
    await expect.poll(() => sim.requests.at(-1)?.status).toBe(499);
    expect(sim.calls({ api: "file", app: appKey })).toHaveLength(7);
  });

  it("is made while it is read: whoever goes ends it", async () => {
    const destroyed = vi.fn<() => void>();
    let made = 0;
    const endless = (): Readable =>
      new Readable({
        read() {
          made += 65_536;
          this.push(Buffer.alloc(65_536));
        },
        destroy(_error, done) {
          destroyed();
          done(null);
        },
      });
    const url = await urlOf(sim.media.offer({ data: endless, bytes: 1e9 }).downloadCode);
    const leaving = new AbortController();
    const response = await fetch(url, { signal: leaving.signal });
    await response.body?.getReader().read();
    leaving.abort();
    await vi.waitFor(() => expect(destroyed).toHaveBeenCalled());
    expect(made).toBeLessThan(100 * MB);
  });
});

it("another process can offer and say files, but no streams", async () => {
  const control = controlSimulator(sim.url);
  const offered = await control.offer({ data: Buffer.from("wired"), fileName: "a.txt" });
  expect(String(await fetched(offered.downloadCode))).toBe("wired");
  const said = await control.say({ msgtype: "picture", file: Buffer.from("pic") });
  const { content } = said.body as { content: { downloadCode: string } };
  expect(String(await fetched(content.downloadCode))).toBe("pic");
  await expect(control.say({ msgtype: "file", file: { data: () => Readable.from([]), bytes: 1 } })).rejects.toThrow(
    "stream",
  );
});
