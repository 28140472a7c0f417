import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { deriveToken } from "../../src/domain/account.ts";
import type { Envelope, MessageEnvelope } from "../../src/domain/envelope.ts";
import { knobPresets } from "../../src/sandbox/dingtalk-knobs.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { SaidMessage } from "../../src/sandbox/dingtalk-types.ts";
import { type GatewaySimulator, startGatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { Daemon, freePort } from "../support/daemon.ts";
import { liftedLimits } from "../support/daemon-limits.ts";
import { amrOf, mp4Of, noise, pdfOf, pngOf, sha256 } from "../support/sample-files.ts";

const APP = { appKey: "dingmediakey00000001", appSecret: "media-secret-one" };
const TOKEN = deriveToken(APP.appKey, APP.appSecret);
const MB = 1_024 * 1_024;
const ENDINGS = { image: "png", audio: "amr", video: "mp4", file: "pdf" };

let dir: string;
let dingtalk: DingtalkSimulator;
let gateway: GatewaySimulator;
let daemon: Daemon;
let url: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "bridge-media-"));
  const groups = [5, 6, 7, 8, 9].map((n) => ({ conversationId: `cidGroup${n}==`, title: `组${n}` }));
  dingtalk = await startDingtalkSimulator({
    apps: [APP],
    groups,
    knobs: { ...knobPresets.unlimited, maxRecords: 20_000 },
  });
  gateway = await startGatewaySimulator({
    accounts: [{ id: "main", appKey: APP.appKey, token: TOKEN }],
    mode: { kind: "silent" },
  });
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  daemon = new Daemon({
    DINGTALK_APP_KEY: APP.appKey,
    DINGTALK_APP_SECRET: APP.appSecret,
    DINGTALK_API_BASE: dingtalk.url,
    DINGTALK_OAPI_BASE: dingtalk.url,
    BRIDGE_GATEWAY_URL: gateway.url,
    BRIDGE_PORT: String(port),
    BRIDGE_DATA_DIR: dir,
    ...liftedLimits(),
  });
  const connected = dingtalk.waitFor("connected", undefined, 20_000);
  // As the image and the unit start it; without it V8 lets its young generation grow by tens of megabytes.
  daemon.start({ nodeArgs: ["--max-semi-space-size=2"] });
  await connected;
}, 30_000);

afterEach(async () => {
  expect(await daemon.stop()).toBe(0);
  await gateway.close();
  await dingtalk.close();
  rmSync(dir, { recursive: true, force: true });
});

const headers = { authorization: `Bearer ${TOKEN}`, connection: "close" };

/** Length and hash of what the bridge serves, without keeping it. */
async function hashOf(mediaUrl: string): Promise<string> {
  const response = await fetch(mediaUrl, { headers });
  expect(response.status).toBe(200);
  const hash = createHash("sha256");
  for await (const chunk of response.body ?? []) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

async function post(body: object): Promise<string> {
  const response = await fetch(`${url}/v1/messages`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as { id: string };
  expect(response.status, JSON.stringify(answer)).toBe(202);
  return answer.id;
}

async function upload(data: Buffer | Blob, fileName: string): Promise<string> {
  const form = new FormData();
  form.append("file", data instanceof Blob ? data : new Blob([new Uint8Array(data)]), fileName);
  const response = await fetch(`${url}/v1/media`, { method: "POST", headers, body: form });
  const answer = (await response.json()) as { id: string };
  expect(response.status, JSON.stringify(answer)).toBe(201);
  return answer.id;
}

function messageOf(envelope: Envelope | undefined): MessageEnvelope["message"] {
  if (envelope?.type !== "message") throw new Error("not a message");
  return envelope.message;
}

function mediaOf(envelope: Envelope | undefined): string[] {
  return messageOf(envelope).parts.flatMap((part) => (part.type !== "text" && part.media ? [part.media.url] : []));
}

/** Forgets the high-water mark of the process's memory. */
function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

it("20 MB go both ways in flat memory", { timeout: 120_000 }, async () => {
  const block = noise("block", 64 * 1_024);
  const blocks = (20 * MB) / block.byteLength;
  const big = (): Readable => Readable.from(Array.from({ length: blocks }, () => block));
  const hash = createHash("sha256");
  for (let n = 0; n < blocks; n += 1) hash.update(block);
  const wanted = hash.digest("hex");

  const round = async (size: "small" | "big", n: number): Promise<void> => {
    const file = size === "big" ? { data: big, bytes: 20 * MB } : pdfOf(`warm ${n}`, 100_000);
    const before = gateway.taken.length;
    await dingtalk.say({ msgtype: "file", file, text: `${size} ${n}.pdf` });
    await expect.poll(() => gateway.taken.length, { timeout: 30_000 }).toBe(before + 1);
    const [mediaUrl = ""] = mediaOf(gateway.taken.at(-1));
    const found = await hashOf(mediaUrl);
    if (size === "big") expect(found).toBe(wanted);
    const data =
      size === "big"
        ? new Blob([Buffer.concat(Array.from({ length: blocks }, () => block))])
        : pdfOf(`up ${n}`, 100_000);
    const id = await upload(data, `up ${n}.zip`);
    const sentBefore = dingtalk.sent.length;
    await post({ to: "user:staff001", content: { type: "file", media: { id }, fileName: `up ${n}.pdf` } });
    await expect.poll(() => dingtalk.sent.length, { timeout: 30_000 }).toBe(sentBefore + 1);
  };
  for (let n = 0; n < 5; n += 1) await round("small", n);
  const warm = daemon.rssMb();
  resetPeak(daemon.pid);
  for (let n = 0; n < 3; n += 1) await round("big", n);
  const growth = daemon.peakRssMb() - warm;
  console.info(
    `RSS after warm-up ${warm.toFixed(0)} MB, growth while 20 MB went both ways three times: ${growth.toFixed(1)} MB`,
  );
  expect(growth).toBeLessThan(30);
});

interface Turn {
  conversation: string;
  said: SaidMessage;
  /** SHA-256 of the files, in order. */
  hashes: string[];
}

/** The n-th message: 10 conversations in turn, five of them groups, which get no audio, video or files. */
function turnOf(n: number): Turn {
  const where = n % 10;
  const group = where >= 5;
  const seed = `in ${n}`;
  const to = group ? { group: `cidGroup${where}==`, from: "staff001" } : { from: `person${where}` };
  const conversation = group ? `cidGroup${where}==` : `person${where}`;
  const make = (msgtype: string, files: Buffer[]): Turn => ({
    conversation,
    said: { ...to, msgtype, text: `n${n}`, ...(files.length === 1 ? { file: files[0] as Buffer } : { file: files }) },
    hashes: files.map((file) => sha256(file)),
  });
  switch (Math.floor(n / 10) % (group ? 3 : 6)) {
    case 0:
      return { conversation, said: { ...to, text: `n${n}` }, hashes: [] };
    case 1:
      return make("picture", [pngOf(seed, 2_000)]);
    case 2:
      return make("richText", [pngOf(`${seed} a`, 3_000), pngOf(`${seed} b`)]);
    case 3:
      return make("audio", [amrOf(seed)]);
    case 4:
      return make("video", [mp4Of(seed, 3_000, 5_000)]);
    default:
      return make("file", [pdfOf(seed, 20_000)]);
  }
}

/** What the n-th reply is and where it goes; a fifth are words. */
function replyOf(n: number): { to: string; kind: "text" | "image" | "audio" | "video" | "file"; data: Buffer } {
  const to = n % 2 === 0 ? `user:staff00${1 + (n % 4) / 2}` : `conversation:cidGroup${5 + (n % 5)}==`;
  const kind = n % 5 === 0 ? "text" : (["image", "audio", "video", "file"] as const)[n % 4];
  const seed = `out ${n}`;
  const make = { text: Buffer.from(`reply ${n}`), image: pngOf(seed, 2_000), audio: amrOf(seed), video: mp4Of(seed) };
  return kind === undefined || kind === "file"
    ? { to, kind: "file", data: pdfOf(seed, 9_000) }
    : { to, kind, data: make[kind] };
}

it("500 mixed messages at 50/s, in and out: order and contents", { timeout: 180_000 }, async () => {
  const turns = Array.from({ length: 500 }, (_, n) => turnOf(n));
  const replies = turns.map((_, n) => replyOf(n));
  const handles: { msgId: string | undefined; turn: Turn }[] = [];
  // A reply is posted when the one before it in its conversation was accepted; conversations do not wait for one another.
  const posted = new Map<string, Promise<unknown>>();
  const started = performance.now();
  for (const [n, turn] of turns.entries()) {
    await pause(Math.max(0, started + n * 20 - performance.now()));
    handles.push({ msgId: (await dingtalk.say(turn.said)).msgId, turn });
    const { to, kind, data } = replyOf(n);
    const ready = kind === "text" ? Promise.resolve("") : upload(data, `a.${ENDINGS[kind]}`);
    const before = posted.get(to) ?? Promise.resolve();
    posted.set(
      to,
      Promise.all([ready, before]).then(([id]) =>
        post({
          to,
          content: kind === "text" ? { type: "text", text: data.toString() } : { type: kind, media: { id } },
        }),
      ),
    );
  }
  const offered = (performance.now() - started) / 1_000;
  await Promise.all(posted.values());
  await expect.poll(() => gateway.taken.length, { timeout: 60_000 }).toBe(500);
  await expect.poll(() => dingtalk.sent.length, { timeout: 60_000 }).toBe(500);
  const done = (performance.now() - started) / 1_000;

  const byId = new Map(handles.map(({ msgId, turn }) => [`main:${msgId}`, turn]));
  const order = new Map<string, string[]>();
  for (const envelope of gateway.taken) {
    const turn = byId.get(envelope.id);
    if (!turn) throw new Error(`nobody said ${envelope.id}`);
    order.set(turn.conversation, [...(order.get(turn.conversation) ?? []), envelope.id]);
    const found: string[] = [];
    for (const mediaUrl of mediaOf(envelope)) found.push(await hashOf(mediaUrl));
    expect(found, JSON.stringify(messageOf(envelope).parts)).toEqual(turn.hashes);
  }
  for (const [conversation, ids] of order) {
    const said = handles.filter(({ turn }) => turn.conversation === conversation).map(({ msgId }) => `main:${msgId}`);
    expect(ids).toEqual(said);
  }

  const uploaded = new Map(dingtalk.media.uploaded.map((file) => [file.mediaId, file.sha256]));
  const shown = ({ raw, text }: { raw: unknown; text: string }): string => {
    const { mediaId, photoURL, videoMediaId } = raw as Record<string, string | undefined>;
    return uploaded.get(mediaId ?? photoURL ?? videoMediaId ?? "") ?? text;
  };
  const destination = ({ userIds, conversationId }: { userIds?: string[]; conversationId: string }): string =>
    userIds ? `user:${userIds[0]}` : `conversation:${conversationId}`;
  for (const to of new Set(replies.map((one) => one.to))) {
    const wanted = replies.filter((one) => one.to === to);
    expect(dingtalk.sent.filter((sent) => destination(sent) === to).map(shown)).toEqual(
      wanted.map(({ kind, data }) => (kind === "text" ? data.toString() : sha256(data))),
    );
  }
  const uploads = dingtalk.media.uploaded.length;
  console.info(
    `500 in and 500 out offered in ${offered.toFixed(1)} s, all there after ${done.toFixed(1)} s, ${uploads} uploads`,
  );
});
