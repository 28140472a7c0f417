import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MediaApi, type MediaUpload } from "../../src/dingtalk/media-api.ts";
import { TokenSource } from "../../src/dingtalk/token.ts";
import { systemClock } from "../../src/ops/clock.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { namedErrors } from "../../src/sandbox/dingtalk-errors.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { type Caller, closedPort, startCaller, startServer, startTcpServer } from "../support/dingtalk-http.ts";

const account = { name: "main", appKey: "dingapp1", appSecret: "secret-of-app-1", robotCode: "dingapp1" };
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
let caller: Caller;
let directory: string;

beforeEach(async () => {
  const other = { appKey: "dingapp2", appSecret: "secret-of-app-2" };
  sim = await startDingtalkSimulator({ apps: [{ appKey: account.appKey, appSecret: account.appSecret }, other] });
  caller = startCaller(2_000);
  directory = await mkdtemp(join(tmpdir(), "media-api-"));
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await sim.close();
  await rm(directory, { recursive: true });
});

interface Where {
  apiBase?: string;
  oapiBase?: string;
  tokensFrom?: string;
  timeoutMs?: number;
}

function mediaApi({
  apiBase = sim.url,
  oapiBase = sim.url,
  tokensFrom = sim.url,
  timeoutMs = 5_000,
}: Where = {}): MediaApi {
  const { call, logger, agent: dispatcher } = caller;
  const tokens = new TokenSource({ account, apiBase: tokensFrom, call, clock: systemClock, logger });
  const userAgent = "dingtalk-bridge/test";
  return new MediaApi({
    account,
    apiBase,
    oapiBase,
    call,
    dispatcher,
    tokens,
    userAgent,
    logger,
    metrics: createMetrics(),
    timeoutMs,
  });
}

async function stored(data: Buffer | string, more: Partial<MediaUpload> = {}): Promise<MediaUpload> {
  const path = join(directory, randomBytes(4).toString("hex"));
  await writeFile(path, data);
  return { path, fileName: "图.png", mimeType: "image/png", type: "image", ...more };
}

const wait = (code: string, afterMs: number) => ({ kind: "retry", class: "peer-away", code, afterMs });
const badToken = wait("dingtalk_bad_credentials", 60_000);
const busy = { kind: "retry", class: "entry", code: "dingtalk_unavailable" };

describe("a download code", () => {
  test("becomes an address that delivers the file", async () => {
    const { downloadCode } = sim.media.offer({ data: Buffer.from("钉钉") });
    const answer = await mediaApi({ apiBase: `${sim.url}/` }).downloadUrl(downloadCode);
    if (answer.kind !== "done") throw new Error(answer.detail);
    expect(await (await fetch(answer.url)).text()).toBe("钉钉");
    expect(sim.requests.find(({ api }) => api === "messageFiles/download")?.body).toEqual({
      downloadCode,
      robotCode: "dingapp1",
    });
    expect(sim.problems).toEqual([]);
  });

  test.each([
    ["that nobody gave out", () => "nonsense", "下载码有误或者已经过期"],
    ["that has expired", () => expired(), "下载码有误或者已经过期"],
    ["of another robot", () => sim.media.offer({ data: Buffer.from("x"), app: "dingapp2" }).downloadCode, "不匹配"],
  ])("%s leads nowhere, for good", async (_name, code, said) => {
    const answer = await mediaApi().downloadUrl(code());
    expect(answer).toEqual({ kind: "rejected", code: "media_expired", detail: expect.stringContaining(said) });
  });

  function expired(): string {
    const { downloadCode } = sim.media.offer({ data: Buffer.from("x") });
    sim.faults.expireDownloads();
    return downloadCode;
  }

  test("of a robot that is not the app's", async () => {
    sim.faults.api("messageFiles/download", {
      kind: "answer",
      status: 400,
      body: { code: "invalidParameter.robotCode.empty", message: "机器人robotCode为空" },
    });
    expect(await mediaApi().downloadUrl("code")).toMatchObject({ kind: "rejected", code: "dingtalk_rejected" });
  });

  test.each([
    [{ data: { downloadUrl: "https://example.com/a?b=c" } }, { kind: "done", url: "https://example.com/a?b=c" }],
    [{}, { kind: "retry", class: "entry", code: "dingtalk_bad_answer" }],
    [{ downloadUrl: "" }, { kind: "retry", code: "dingtalk_bad_answer" }],
    [{ downloadUrl: "file:///etc/passwd" }, { kind: "retry", code: "dingtalk_bad_answer" }],
    [
      { downloadUrl: 7, data: [] },
      { kind: "retry", code: "dingtalk_bad_answer" },
    ],
  ])("answered with %j", async (body, expected) => {
    sim.faults.api("messageFiles/download", { kind: "answer", body });
    expect(await mediaApi().downloadUrl("code")).toMatchObject(expected);
  });
});

describe("an upload", () => {
  test.each([
    ["image", "图.png", "image/png"],
    ["voice", "a.amr", "audio/amr"],
    ["video", "a.mp4", "video/mp4"],
    ["file", '表 "a";\r\n.pdf', "application/pdf"],
  ] as const)("of type %s arrives with its name and type", async (type, fileName, mimeType) => {
    const data = randomBytes(100_000);
    const file = await stored(data, { type, fileName, mimeType });
    const answer = await mediaApi({ oapiBase: `${sim.url}/` }).upload(file);
    const [arrived] = sim.media.uploaded;
    expect(answer).toEqual({ kind: "done", mediaId: arrived?.mediaId });
    expect(arrived).toMatchObject({ app: "dingapp1", type, mimeType, bytes: 100_000, data });
    expect(arrived?.fileName.replace(/%22|%0D%0A/g, "")).toBe(fileName.replace(/"|\r\n/g, ""));
    expect(sim.problems).toEqual([]);
  });

  test.each<[string, Buffer | string, Partial<MediaUpload>, string]>([
    ["of a format that DingTalk does not take", "x", { fileName: "a.webp" }, "media_unsupported"],
    ["that is too large", Buffer.alloc(2 * MB + 1), { type: "voice", fileName: "a.amr" }, "media_too_large"],
    ["that is empty", "", {}, "media_empty"],
  ])("%s is refused for good", async (_name, data, more, code) => {
    const answer = await mediaApi().upload(await stored(data, more));
    expect(answer).toEqual({ kind: "rejected", code, detail: expect.stringMatching(/DingTalk: 200 4/) });
  });

  test.each([
    [
      { errcode: 40004, errmsg: "不合法的媒体文件类型" },
      { kind: "rejected", code: "media_unsupported" },
    ],
    [
      { errcode: 41005, errmsg: "缺少多媒体文件" },
      { kind: "rejected", code: "media_empty" },
    ],
    [
      { errcode: "0", errmsg: "ok", media_id: "@1" },
      { kind: "done", mediaId: "@1" },
    ],
    [
      { errcode: 0, errmsg: "ok" },
      { kind: "retry", class: "entry", code: "dingtalk_bad_answer" },
    ],
    [
      { errcode: 0, errmsg: "ok", media_id: "" },
      { kind: "retry", class: "entry", code: "dingtalk_bad_answer" },
    ],
  ])("answered with %j", async (body, expected) => {
    sim.faults.api("media/upload", { kind: "answer", body });
    expect(await mediaApi().upload(await stored("x"))).toMatchObject(expected);
  });

  test("that a proxy finds too large", async () => {
    sim.faults.api("media/upload", { kind: "html", status: 413 });
    const answer = await mediaApi().upload(await stored("x"));
    expect(answer).toMatchObject({ kind: "rejected", code: "media_too_large" });
  });

  test("of a file that is not there, or not readable", async () => {
    const file = await stored("x");
    const api = mediaApi();
    expect(await api.upload({ ...file, path: `${file.path}.gone` })).toMatchObject({
      kind: "rejected",
      code: "media_unknown",
    });
    // A directory opens and cannot be read: what comes of it is a failure, not an exception.
    expect(await api.upload({ ...file, path: directory })).toMatchObject({
      kind: expect.stringMatching(/retry|uncertain/),
    });
    expect(sim.media.uploaded).toEqual([]);
  });

  test("of 20 MB arrives whole", { timeout: 60_000 }, async () => {
    const data = randomBytes(20 * MB);
    const file = await stored(data, { type: "file", fileName: "a.zip", mimeType: "application/zip" });
    expect(await mediaApi({ timeoutMs: 30_000 }).upload(file)).toMatchObject({ kind: "done" });
    const sha256 = createHash("sha256").update(data).digest("hex");
    expect(sim.media.uploaded).toMatchObject([{ bytes: 20 * MB, sha256, data: undefined }]);
  });

  test("of 20 MB is not held, however fast it is taken", { timeout: 60_000 }, async () => {
    const file = await stored(Buffer.alloc(20 * MB), { type: "file", fileName: "a.zip" });
    const before = liveBytes();
    let taken = 0;
    let tokenHeader: unknown = "no request";
    let most = 0;
    const look = (): void => void (most = Math.max(most, liveBytes() - before));
    await using server = await startServer((request, response) => {
      let looked = 0;
      tokenHeader = request.headers["x-acs-dingtalk-access-token"];
      request.on("data", ({ length }: Buffer) => {
        taken += length;
        if (taken - looked < 2 * MB) return;
        looked = taken;
        look();
      });
      request.on("end", () => response.end('{"errcode":0,"media_id":"@1"}'));
    });
    expect(await mediaApi({ oapiBase: server.url, timeoutMs: 30_000 }).upload(file)).toMatchObject({ kind: "done" });
    expect(taken).toBeGreaterThan(20 * MB);
    expect(tokenHeader).toBeUndefined();
    expect(most / MB).toBeLessThan(8);

    await using deaf = await startTcpServer((socket) => socket.pause());
    let ended = false;
    const slow = mediaApi({ oapiBase: deaf.url, timeoutMs: 1_000 }).upload(file);
    const watched = slow.finally(() => (ended = true));
    await expect.poll(() => (look(), ended), { timeout: 20_000 }).toBe(true);
    expect(await watched).toMatchObject({ kind: "uncertain", code: "dingtalk_timeout" });
    expect(most / MB).toBeLessThan(8);
  });
});

const apis = ["messageFiles/download", "media/upload"] as const;

describe.each(apis)("%s", (name) => {
  const run = async (api: MediaApi, signal?: AbortSignal): ReturnType<MediaApi["upload"]> => {
    if (name === "media/upload") return api.upload(await stored("x"), signal);
    const answer = await api.downloadUrl(sim.media.offer({ data: Buffer.from("x") }).downloadCode, signal);
    return answer.kind === "done" ? { kind: "done", mediaId: answer.url } : answer;
  };
  const calls = (): number => sim.calls({ api: name }).length;

  test("renews an expired token at once", async () => {
    const api = mediaApi();
    await run(api);
    sim.faults.expireTokens();
    expect(await run(api)).toMatchObject({ kind: "done" });
    expect([calls(), sim.calls({ api: "oauth2/accessToken" }).length]).toEqual([3, 2]);
  });

  test("gives up with a token that stays refused", async () => {
    const error = name === "media/upload" ? "oapiInvalidToken" : "invalidAuthentication";
    sim.faults.api(name, { kind: "error", error });
    expect(await run(mediaApi())).toMatchObject(badToken);
    expect([calls(), sim.calls({ api: "oauth2/accessToken" }).length]).toEqual([2, 2]);
  });

  test("waits when it is throttled", async () => {
    sim.setKnobs({ qps: 1 });
    const api = mediaApi();
    await run(api);
    expect(await run(api)).toMatchObject(wait("dingtalk_throttled", 2_000));
  });

  test.each([
    ["permissionDenied", wait("dingtalk_permission_missing", 60_000)],
    ["ipNotInWhiteList", wait("dingtalk_ip_not_allowed", 60_000)],
    ["apiCountLimit", wait("dingtalk_quota_exhausted", 3_600_000)],
    ["oapiCountLimit", wait("dingtalk_quota_exhausted", 3_600_000)],
    ["ipBlockedHtml", wait("dingtalk_ip_blocked", 300_000)],
    ["systemError", busy],
    ["oapiBusy", busy],
    ["unavailable", { kind: "retry", class: "peer-away", code: "dingtalk_unavailable" }],
    ["gatewayTimeout", { kind: "uncertain", code: "dingtalk_timeout" }],
  ] as const)("fails with %s", async (error, expected) => {
    sim.faults.api(name, { kind: "error", error });
    expect(await run(mediaApi())).toMatchObject(expected);
  });

  test("throws for none of the published errors", async () => {
    for (const error of namedErrors) {
      // A blocked address and refused tokens are remembered: each gets a client of its own.
      sim.faults.api(name, { kind: "error", error, count: 2 });
      expect(await run(mediaApi()), error).toMatchObject({ kind: expect.not.stringMatching("done"), code: /./ });
      sim.faults.clear();
    }
  });

  test("without permission", async () => {
    const scope = name === "media/upload" ? "qyapi_base" : "qyapi_robot_sendmsg";
    await sim.close();
    sim = await startDingtalkSimulator({ apps: [{ ...account, missingScopes: [scope] }] });
    const answer = await run(mediaApi());
    expect(answer).toMatchObject(wait("dingtalk_permission_missing", 60_000));
    expect(answer).toMatchObject({ detail: expect.stringContaining(scope) });
  });

  test.each([
    ["reset", { kind: "uncertain", code: "dingtalk_unavailable" }],
    ["hang", { kind: "uncertain", code: "dingtalk_timeout" }],
    ["stall", { kind: "uncertain", code: "dingtalk_bad_answer" }],
    ["truncated", { kind: "uncertain", code: "dingtalk_bad_answer" }],
  ] as const)("%s", async (kind, expected) => {
    await caller[Symbol.asyncDispose]();
    caller = startCaller(300);
    sim.faults.api(name, { kind });
    expect(await run(mediaApi({ timeoutMs: 300 }))).toMatchObject(expected);
  });

  test("with nobody there", async () => {
    const gone = `http://127.0.0.1:${await closedPort()}`;
    const answer = await run(mediaApi({ apiBase: gone, oapiBase: gone }));
    expect(answer).toMatchObject({ kind: "retry", class: "peer-away", code: "dingtalk_unreachable" });
  });

  test("given up by the caller, before and while", async () => {
    expect(await run(mediaApi(), AbortSignal.abort())).toMatchObject({ kind: "retry", code: "interrupted" });
    const giveUp = new AbortController();
    await using server = await startServer(() => giveUp.abort());
    const api = mediaApi({ apiBase: server.url, oapiBase: server.url });
    expect(await run(api, giveUp.signal)).toMatchObject({ kind: "uncertain", code: "interrupted" });
  });

  test("names neither token nor secret, even when the answer quotes them", async () => {
    const token = "token-5f0c9a1b2c3d4e5f";
    await using server = await startServer((request, response) => {
      request.resume().on("end", () => {
        const isToken = request.url === "/v1.0/oauth2/accessToken";
        const { "x-acs-dingtalk-access-token": header = "" } = request.headers;
        const refusal = { code: "bot.stopped", message: `${request.url} ${String(header)} ${account.appSecret}` };
        response.writeHead(isToken ? 200 : 400);
        response.end(JSON.stringify(isToken ? { accessToken: token, expireIn: 7200 } : refusal));
      });
    });
    const { url } = server;
    const answer = await run(mediaApi({ apiBase: url, oapiBase: url, tokensFrom: url }));
    expect(answer).toMatchObject({ kind: "rejected", code: "dingtalk_rejected" });
    for (const text of [JSON.stringify(answer), caller.logged()]) {
      expect(text).not.toContain(token);
      expect(text).not.toContain(account.appSecret);
    }
  });
});
