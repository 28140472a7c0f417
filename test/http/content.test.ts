import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { uploadFile } from "../support/outbound.ts";
import { pdfOf } from "../support/sample-files.ts";

let bridge: TestBridge;
beforeAll(async () => {
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } }, env: { BRIDGE_MEDIA_MAX_MB: "30" } });
});
afterAll(() => bridge.close());

const ID = `m_${"0".repeat(32)}`;
const button = { title: "a", url: "https://example.com" };
const card = { type: "actionCard", title: "t", text: "x", buttons: [button] };
const link = { type: "link", title: "t", text: "x", url: "https://example.com" };
const url = "https://example.com/a.png";

async function refusal(content: unknown, extra: object = {}) {
  const response = await bridge.api("POST", "/v1/messages", { to: "user:staff001", content, ...extra });
  return { status: response.status, body: (await response.json()) as { code: string; detail: string } };
}

describe("a content that is wrong names its field", () => {
  it.each([
    [{ type: "feedCard" }, 422, "content_type_not_supported", "content.type"],
    [{ type: 5 }, 400, "invalid_request", 'content: tag "type"'],
    [{}, 400, "invalid_request", "content.type"],
    [{ type: "image" }, 400, "invalid_request", "content.media"],
    [{ type: "image", media: {} }, 400, "invalid_request", "content.media"],
    [{ type: "image", media: { id: ID, url } }, 400, "invalid_request", "content.media"],
    [{ type: "image", media: { id: "../../etc/passwd" } }, 400, "invalid_request", "content.media.id"],
    [{ type: "image", media: { id: ID } }, 422, "media_unknown", "content.media.id"],
    [{ type: "image", media: { url: "ftp://example.com/a" } }, 422, "media_url_refused", "content.media.url"],
    [{ type: "image", media: { url: "https://a:b@example.com/" } }, 422, "media_url_refused", "content.media.url"],
    [{ type: "image", media: { url: "not a url" } }, 422, "media_url_refused", "content.media.url"],
    [{ type: "file", media: { url }, fileName: "" }, 400, "invalid_request", "content.fileName"],
    [{ type: "file", media: { url }, caption: "" }, 400, "invalid_request", "content.caption"],
    [{ type: "image", media: { url }, cover: { url } }, 400, "invalid_request", "content.cover"],
    [{ type: "video", media: { url }, cover: { id: ID } }, 422, "media_unknown", "content.cover.id"],
    [{ ...link, url: "javascript:alert(1)" }, 400, "invalid_request", "content.url"],
    [{ ...link, text: "x".repeat(3_501) }, 400, "invalid_request", "content.text"],
    [
      {
        ...link,
        title: "题".repeat(200),
        text: "字".repeat(3_500),
        url: `https://e.example/${"u".repeat(2_000)}`,
        imageUrl: `https://e.example/${"u".repeat(2_000)}`,
      },
      400,
      "invalid_request",
      "content",
    ],
    [{ ...card, buttons: [] }, 400, "invalid_request", "content.buttons"],
    [{ ...card, buttons: Array.from({ length: 6 }, () => button) }, 400, "invalid_request", "content.buttons"],
    [{ ...card, buttons: [{ title: "a" }] }, 400, "invalid_request", "content.buttons.0.url"],
    [{ ...card, buttons: [button, button, button], layout: "horizontal" }, 400, "invalid_request", "content.buttons: "],
    [{ ...card, layout: "diagonal" }, 400, "invalid_request", "content.layout"],
    [{ type: "card", templateId: "t" }, 400, "invalid_request", "content.params"],
    [{ type: "card", params: {} }, 400, "invalid_request", "content.templateId"],
    [{ type: "card", templateId: "t", outTrackId: "o", params: {} }, 400, "invalid_request", "content.templateId"],
    [{ type: "card", outTrackId: "o", params: {}, summary: "s" }, 400, "invalid_request", "content.summary"],
    [{ type: "card", templateId: "t", params: { a: null } }, 400, "invalid_request", "content.params.a"],
    [
      { type: "card", templateId: "t", params: {}, privateParams: { staff001: 1 } },
      400,
      "invalid_request",
      "content.privateParams.staff001",
    ],
    [{ type: "text", text: "x", extra: 1 }, 400, "invalid_request", "content.extra"],
  ])("%j", async (content, status, code, field) => {
    const { body, status: is } = await refusal(content);
    expect([is, body.code]).toEqual([status, code]);
    expect(body.detail.startsWith(field)).toBe(true);
  });

  it("and nothing of it is stored", async () => {
    const { queues } = (await (await bridge.api("GET", "/v1/status")).json()) as { queues: { outbox: object } };
    expect(queues.outbox).toMatchObject({ open: 0, deadLetters: 0 });
  });
});

it("refuses a file that DingTalk would not take, before it is queued", async () => {
  const id = await uploadFile(bridge, Buffer.concat([pdfOf("big"), Buffer.alloc(21 * 1_024 * 1_024)]), "big.pdf");
  expect(await refusal({ type: "file", media: { id } })).toMatchObject({
    status: 422,
    body: { code: "media_too_large", detail: expect.stringContaining("content.media.id") },
  });
  const small = await uploadFile(bridge, pdfOf("small"), "small.pdf");
  expect(await refusal({ type: "video", media: { id: small }, cover: { id: small } })).toMatchObject({
    status: 422,
    body: { code: "media_unsupported", detail: expect.stringContaining("content.cover.id") },
  });
});

it("tells the name of the card with the answer, and the same one for a repeated key", async () => {
  const message = { to: "user:staff001", content: { type: "card", templateId: "t", params: {} } };
  const post = async () =>
    (await (await bridge.api("POST", "/v1/messages", message, { "idempotency-key": "one" })).json()) as object;
  const first = await post();
  expect(first).toMatchObject({ outTrackId: expect.stringMatching(/^br_/), duplicate: false });
  expect(await post()).toMatchObject({ ...first, duplicate: true, status: expect.any(String) });
});

it("answers a repeated key although the file has expired since; under a new key it is unknown", async () => {
  const id = await uploadFile(bridge, pdfOf("expires"), "expires.pdf");
  const message = { to: "user:staff001", content: { type: "file", media: { id } } };
  const post = async (key: string, body: object = message) =>
    (await (await bridge.api("POST", "/v1/messages", body, { "idempotency-key": key })).json()) as { id: string };
  const first = await post("kept");
  const db = new DatabaseSync(join(bridge.dataDir, "bridge.db"), { timeout: 5_000 });
  db.prepare("DELETE FROM media WHERE id = ?").run(id);
  db.close();
  expect(await post("kept")).toMatchObject({ id: first.id, duplicate: true });
  expect(await post("other")).toMatchObject({ code: "media_unknown" });
  const changed = { ...message, content: { ...message.content, fileName: "b.pdf" } };
  expect(await post("kept", changed)).toMatchObject({ code: "idempotency_key_reused" });
});

it("describes every content in the OpenAPI document", async () => {
  const document = (await (await bridge.api("GET", "/openapi.json")).json()) as {
    paths: Record<
      string,
      {
        post: {
          requestBody: {
            content: Record<string, { schema: { properties: { content: { oneOf: { title: string }[] } } } }>;
          };
        };
      }
    >;
  };
  const schema = document.paths["/v1/messages"]?.post.requestBody.content["application/json"]?.schema;
  expect(schema?.properties.content.oneOf.map(({ title }) => title)).toEqual([
    "Text",
    "Markdown",
    "Image",
    "File",
    "Audio",
    "Video",
    "Link",
    "Action card",
    "Card",
  ]);
});
