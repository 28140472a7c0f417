import { rmSync } from "node:fs";
import { connect } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fileNameIn } from "../../src/flows/media-name.ts";
import { noise, pdfOf, pngOf, sha256 } from "../support/sample-files.ts";
import { FORM, type MediaServer, TOKENS, formOf, startMediaServer } from "./media-server.ts";

let api: MediaServer;
beforeAll(async () => {
  api = await startMediaServer();
});
afterAll(() => api.close());

async function store(data: Buffer | string, fileName = "a.bin", token: string = TOKENS.main) {
  const body = new Uint8Array(formOf([{ name: "file", fileName, data }]));
  const response = await api.call("POST", "/v1/media", { token, body, headers: { "content-type": FORM } });
  expect(response.status).toBe(201);
  return (await response.json()) as { id: string; fileName: string; mimeType: string };
}

const get = (id: string, headers: Record<string, string> = {}, method = "GET"): Promise<Response> =>
  api.call(method, `/v1/media/${id}`, { headers });

const bytes = async (response: Response): Promise<Buffer> => Buffer.from(await response.arrayBuffer());

describe("GET /v1/media/:id", () => {
  it("serves the bytes, as nothing that could run", async () => {
    const data = pngOf("served", 200_000);
    const { id } = await store(data, "图 1.png");
    const response = await get(id);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "image/png",
      "content-length": String(data.byteLength),
      "accept-ranges": "bytes",
      etag: `"${sha256(data)}"`,
      "cache-control": expect.stringMatching(/^private\b/),
      "x-content-type-options": "nosniff",
      "content-security-policy": "sandbox; default-src 'none'",
      "content-disposition": expect.stringMatching(/^inline;.*filename\*=UTF-8''%E5%9B%BE%201\.png$/),
    });
    expect(await bytes(response)).toEqual(data);
  });

  it.each([
    ["page.html", "<!DOCTYPE html><html><script>alert(1)</script></html>"],
    ["page.png", "<!DOCTYPE html><html><script>alert(1)</script></html>"],
    ["drawing.svg", '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'],
    ["page.xhtml", '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>'],
    ["script.js", "alert(1)"],
    ["report.pdf", pdfOf("inline")],
    ["unknown", noise("unknown", 100)],
  ])("serves %s as an attachment only", async (name, data) => {
    const { id } = await store(data, name);
    const response = await get(id);
    expect(response.headers.get("content-disposition")).toMatch(/^attachment;/);
    expect(response.headers.get("content-security-policy")).toContain("sandbox");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("content-type")).not.toMatch(/^image\/(?!svg)/);
    expect(await bytes(response)).toEqual(Buffer.from(data));
  });

  it("answers HEAD as GET, without the bytes", async () => {
    const { id } = await store(noise("head", 5_000));
    const [whole, head] = [await get(id), await get(id, {}, "HEAD")];
    await whole.arrayBuffer();
    const lasting = (response: Response) =>
      Object.fromEntries([...response.headers].filter(([name]) => !["date", "keep-alive"].includes(name)));
    expect(head.status).toBe(200);
    expect(lasting(head)).toEqual(lasting(whole));
    expect(await bytes(head)).toHaveLength(0);
  });

  const SIZE = 1_000;
  it.each([
    ["bytes=0-0", 0, 0],
    ["bytes=10-19", 10, 19],
    ["bytes=990-", 990, 999],
    ["bytes=990-5000", 990, 999],
    ["bytes=-10", 990, 999],
    ["bytes=-5000", 0, 999],
    ["bytes=0-", 0, 999],
    ["Bytes= 5-6 ", 5, 6],
  ])("serves the range %s", async (range, start, end) => {
    const data = noise("range", SIZE);
    const { id } = await store(data);
    const response = await get(id, { range });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(`bytes ${start}-${end}/${SIZE}`);
    expect(response.headers.get("content-length")).toBe(String(end - start + 1));
    expect(await bytes(response)).toEqual(data.subarray(start, end + 1));
    const head = await get(id, { range }, "HEAD");
    expect([head.status, head.headers.get("content-length")]).toEqual([206, String(end - start + 1)]);
  });

  it.each(["bytes=1000-", "bytes=5000-6000", "bytes=-0"])("refuses the range %s", async (range) => {
    const { id } = await store(noise("range", SIZE));
    const response = await get(id, { range });
    expect(response.status).toBe(416);
    expect(response.headers.get("content-range")).toBe(`bytes */${SIZE}`);
    expect(response.headers.get("content-type")).toContain("application/problem+json");
    expect(await response.json()).toMatchObject({ status: 416, code: "invalid_request" });
  });

  it.each(["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "bytes=a-b", "lines=1-2", "bytes"])(
    "serves everything to %s",
    async (range) => {
      const data = noise("range", SIZE);
      const { id } = await store(data);
      const response = await get(id, { range });
      expect([response.status, response.headers.get("content-range")]).toEqual([200, null]);
      expect(await bytes(response)).toEqual(data);
    },
  );

  it("goes on with a download only if it is the same content", async () => {
    const data = noise("resumed", SIZE);
    const { id } = await store(data);
    const etag = `"${sha256(data)}"`;
    const status = async (ifRange: string): Promise<number> => {
      const response = await get(id, { range: "bytes=500-", "if-range": ifRange });
      await response.arrayBuffer();
      return response.status;
    };
    expect(await status(etag)).toBe(206);
    expect(await status(`W/${etag}`)).toBe(200);
    expect(await status('"other"')).toBe(200);
    expect(await status(new Date(Date.now() + 1e9).toUTCString())).toBe(200);
  });

  it("sends nothing to those who have it", async () => {
    const data = noise("cached", SIZE);
    const { id } = await store(data);
    const etag = `"${sha256(data)}"`;
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const response = await get(id, { "if-none-match": known, range: "bytes=0-1" });
      expect([known, response.status]).toEqual([known, 304]);
      expect(response.headers.get("etag")).toBe(etag);
      expect(await bytes(response)).toHaveLength(0);
    }
    const other = await get(id, { "if-none-match": '"other"' });
    expect(other.status).toBe(200);
    await other.arrayBuffer();
  });

  it("has a file name in the header that any client can read, whatever the name was", async () => {
    const names = fc.oneof(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc.string({ unit: "grapheme", maxLength: 60 }),
      fc.string({ unit: fc.constantFrom('"', "\\", "%", "'", ";", "=", "文", "😀", "/", ".", " ", "\u202e", "a") }),
    );
    await fc.assert(
      fc.asyncProperty(names, async (name) => {
        const form = new FormData();
        form.append("file", new Blob(["%PDF-1.4\n"]), name);
        const { id, fileName } = (await (await api.call("POST", "/v1/media", { body: form })).json()) as {
          id: string;
          fileName: string;
        };
        const response = await get(id);
        await response.arrayBuffer();
        const header = response.headers.get("content-disposition") ?? "";
        expect(header).toMatch(/^attachment; filename="[ !#-[\]-~]+"(; filename\*=UTF-8''[\w%.~!#$&+^`|-]+)?$/);
        expect(fileNameIn(header)).toBe(fileName);
        expect(fileName).not.toMatch(/[/\\\p{Cc}]/u);
      }),
      { numRuns: 60 },
    );
  });
});

describe("what is not there", () => {
  it("is the same 404 for unknown ids, other accounts' files, expired ones and paths", async () => {
    const others = await store("of the second", "b.txt", TOKENS.second);
    const unlinked = await store("deleted from the disk");
    rmSync(api.files.pathOf(unlinked.id));
    const unknown = `m_${"0".repeat(32)}`;
    const ids = [unknown, others.id, unlinked.id, "m_", "x".repeat(511), "..%2f..%2fbridge.db", "%2e%2e%2fbridge.db"];
    for (const id of [...ids, "%2fetc%2fpasswd", "..%5cbridge.db", unlinked.id.toUpperCase(), `${unknown}%00`]) {
      for (const method of ["GET", "HEAD"]) {
        const response = await get(id, {}, method);
        expect([id, method, response.status]).toEqual([id, method, 404]);
        const text = await response.text();
        if (method === "GET") expect(JSON.parse(text)).toMatchObject({ status: 404, code: "not_found" });
      }
    }
    expect((await api.call("GET", `/v1/media/${others.id}`, { token: TOKENS.second })).status).toBe(200);
    expect((await api.call("GET", `/v1/media/${others.id}`, { token: TOKENS.all })).status).toBe(200);
  });

  it.each(["/v1/media/../../bridge.db", "/v1/media//etc/passwd", "/v1/media/", "/v1/media/..", "/v1/media/%zz"])(
    "is not found at %s, which no client would normalise",
    async (path) => {
      const socket = connect(api.port, "127.0.0.1").setEncoding("utf8");
      let answer = "";
      socket.on("data", (text: string) => (answer += text));
      socket.write(
        `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKENS.main}\r\nconnection: close\r\n\r\n`,
      );
      await new Promise((resolve) => socket.once("close", resolve));
      expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
    },
  );

  it("needs the token", async () => {
    const { id } = await store("secret");
    const response = await fetch(`${api.url}/v1/media/${id}`, { headers: { connection: "close" } });
    expect(response.status).toBe(401);
    expect(await response.text()).not.toContain("secret");
  });
});

it("is described in the OpenAPI document", async () => {
  interface Operation {
    requestBody?: { content: Record<string, { schema: { properties: Record<string, object>; required: string[] } }> };
    responses: Record<string, { content: Record<string, { schema: object }> }>;
  }
  const response = await api.call("GET", "/openapi.json");
  const { paths } = (await response.json()) as { paths: Record<string, Record<string, Operation>> };
  const upload = paths["/v1/media"]?.["post"];
  const form = upload?.requestBody?.content["multipart/form-data"]?.schema;
  expect(Object.keys(upload?.requestBody?.content ?? {})).toEqual(["multipart/form-data"]);
  expect(form).toMatchObject({ properties: { file: { type: "string", format: "binary" } }, required: ["file"] });
  expect(upload?.responses["201"]?.content["application/json"]?.schema).toMatchObject({
    required: ["id", "mimeType", "bytes"],
  });
  const download = paths["/v1/media/{id}"]?.["get"];
  for (const status of ["200", "206"]) {
    expect(download?.responses[status]?.content["application/octet-stream"]?.schema).toMatchObject({
      type: "string",
      format: "binary",
    });
  }
});
