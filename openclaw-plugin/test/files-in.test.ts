import type { PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { receiveFiles } from "../src/files-in.ts";
import type { EnvelopeMessage, EnvelopePart } from "../src/types.ts";
import { FakeBridge } from "./support/fake-bridge.ts";

const ID = `m_${"0".repeat(32)}`;
const PNG = Buffer.from("89504e470d0a1a0a", "hex");

let fake: FakeBridge;
let saved: { bytes: Buffer; options: object | undefined }[];
beforeEach(async () => {
  saved = [];
  fake = new FakeBridge();
  await fake.start();
});
afterEach(async () => await fake.stop());

/** OpenClaw's media store. */
const runtime = {
  channel: {
    media: {
      saveResponseMedia: async (response: Response, options?: object) => {
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
        const bytes = Buffer.from(await response.arrayBuffer());
        saved.push({ bytes, options });
        return { id: "x", path: "/store/x.png", size: bytes.length, contentType: "image/png" };
      },
    },
  },
} as unknown as PluginRuntime;

const receive = async (...parts: EnvelopePart[]) => {
  const message: EnvelopeMessage = {
    sentAt: 0,
    conversation: { kind: "direct", id: "cid" },
    sender: { id: "s" },
    mentioned: true,
    text: "",
    parts,
    quote: { text: "", parts: [] },
  };
  return await receiveFiles({ runtime, bridge: fake.bridge(), maxBytes: 1_000 }, message);
};
const picture = (media: Partial<NonNullable<EnvelopePart["media"]>> = {}): EnvelopePart => ({
  type: "image",
  media: { id: ID, fileName: "a.png", ...media },
});
const served = (...statuses: number[]): void => {
  const answers = statuses.map((status) => ({ status, body: PNG, type: "image/png" }));
  fake.script.set("GET /v1/media/", answers);
};

test("a file comes from the configured bridge, with its token, into OpenClaw's store", async () => {
  served(200);
  const { media, missing } = await receive({ type: "text", text: "look" }, picture());
  expect(media).toEqual([{ path: "/store/x.png", contentType: "image/png", sizeBytes: 8, fileName: "a.png" }]);
  expect(missing.size).toBe(0);
  expect(fake.calls).toMatchObject([
    { what: `GET /v1/media/${ID}`, headers: { authorization: `Bearer ${fake.bridge().account.tokens[0]}` } },
  ]);
  expect(saved).toMatchObject([
    { bytes: PNG, options: { maxBytes: 1_000, subdir: "inbound", originalFilename: "a.png" } },
  ]);
});

test("what was said in a voice message is not to be heard again", async () => {
  served(200);
  const { media } = await receive({ ...picture({ durationMs: 4_000 }), type: "audio", recognition: "words" });
  expect(media).toMatchObject([{ durationMs: 4_000, transcribed: true }]);
});

test("it is tried again when the bridge cannot give it just now", async () => {
  served(503, 200);
  expect((await receive(picture())).media).toHaveLength(1);
});

test.for([
  ["that the bridge has no more", [404], picture()],
  ["that is too large", [200], picture({ bytes: 8 }), 4],
  ["whose id is a path", [], picture({ id: "../status" })],
] as const)("one %s is missing, at the first try", async ([, statuses, part]) => {
  served(...statuses);
  const bridge = fake.bridge();
  const message = { parts: [part], text: "", mentioned: true, sentAt: 0 } as unknown as EnvelopeMessage;
  const { media, missing } = await receiveFiles({ runtime, bridge, maxBytes: 4 }, message);
  expect([media, [...missing.values()]]).toEqual([[], ["it could not be fetched from the bridge"]]);
  expect(fake.calls).toHaveLength(statuses.length);
});

test.each([
  ["media_too_large", "larger than 20 MB", "it is too large"],
  [
    "media_not_fetched",
    "dingtalk_quota_exhausted: 本月调用量已用尽 request_id 15r2e",
    "the month's calls of DingTalk's API are used up",
  ],
  ["media_not_fetched", "not there within 60000 ms", "it could not be fetched from DingTalk"],
  ["something_new", "未知错误", "it could not be fetched"],
])(
  "one that never reached the bridge (%s) is missing for a plain reason, and the log has the rest",
  async (code, detail, reason) => {
    const part = { type: "file", error: { code, detail } };
    const { missing } = await receive(part);
    expect(missing.get(part)).toBe(reason);
    expect(fake.lines.join()).toContain(detail);
    expect(fake.calls).toEqual([]);
  },
);
