import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BridgeError } from "../../src/domain/errors.ts";
import { amrOf, noise, pdfOf, pngOf, sha256 } from "../support/sample-files.ts";
import { FORM, MAX_BYTES, type MediaServer, TOKENS, formOf, keptConnection, startMediaServer } from "./media-server.ts";

let api: MediaServer;
beforeEach(async () => {
  api = await startMediaServer();
});
afterEach(() => api.close());

const json = async (response: Response) => (await response.json()) as Record<string, unknown>;
const post = (body: Buffer | ReadableStream, init: { token?: string; type?: string } = {}) =>
  api.call("POST", "/v1/media", {
    body: body instanceof Buffer ? new Uint8Array(body) : body,
    duplex: "half",
    headers: { "content-type": init.type ?? FORM },
    ...(init.token !== undefined && { token: init.token }),
  });

describe("POST /v1/media", () => {
  it("stores the file and tells its kind by its content", async () => {
    const data = pngOf("a");
    const response = await post(formOf([{ name: "file", fileName: "截图 1.png", type: "text/plain", data }]));
    expect(response.status).toBe(201);
    const info = await json(response);
    expect(info).toEqual({
      id: expect.stringMatching(/^m_[0-9a-f]{32}$/),
      mimeType: "image/png",
      bytes: data.byteLength,
      fileName: "截图 1.png",
    });
    expect(response.headers.get("location")).toBe(`/v1/media/${String(info["id"])}`);
    expect(api.store.media.find(String(info["id"]))).toMatchObject({
      account: "main",
      origin: "upload",
      sha256: sha256(data),
      width: 2,
    });
    expect(api.onDisk()).toEqual([info["id"]]);
  });

  it("says how long audio is", async () => {
    const response = await post(formOf([{ name: "file", fileName: "a.amr", data: amrOf("a", 1_500) }]));
    expect(await json(response)).toMatchObject({ mimeType: "audio/amr", durationMs: 1_500 });
  });

  it("takes what fetch and FormData send, and a body without a length", async () => {
    const form = new FormData();
    const data = pdfOf("form");
    form.append("file", new Blob([new Uint8Array(data)]), "a.pdf");
    const first = await api.call("POST", "/v1/media", { body: form });
    expect(await json(first)).toMatchObject({ mimeType: "application/pdf", fileName: "a.pdf" });
    const whole = formOf([{ name: "file", fileName: "b.pdf", data }]);
    const chunks = [0, 1, 2, 3].map((n) => whole.subarray(n * 150, n === 3 ? undefined : (n + 1) * 150));
    const second = await post(ReadableStream.from(chunks.map((chunk) => new Uint8Array(chunk))));
    expect(await json(second)).toMatchObject({ bytes: data.byteLength, fileName: "b.pdf" });
  });

  it("takes a file of exactly the largest size", async () => {
    const response = await post(formOf([{ name: "file", fileName: "a.bin", data: noise("most", MAX_BYTES) }]));
    expect(await json(response)).toMatchObject({ bytes: MAX_BYTES });
  });

  it.each([
    ["an honest length", MAX_BYTES + 1, true],
    ["an honest length, far too long", 4 * MAX_BYTES, true],
    ["no length", MAX_BYTES + 1, false],
    ["no length, far too long", 4 * MAX_BYTES, false],
  ])("refuses a larger one with %s, and the connection serves the next", async (_name, bytes, honest) => {
    const connection = keptConnection(api);
    const body = formOf([{ name: "file", fileName: "big.bin", data: noise("big", bytes) }]);
    const headers = { "content-type": FORM, ...(honest && { "content-length": body.byteLength }) };
    const chunks = Array.from({ length: Math.ceil(body.byteLength / 65_536) }, (_, n) =>
      body.subarray(n * 65_536, (n + 1) * 65_536),
    );
    const refused = await connection.post(chunks, headers);
    expect(refused).toMatchObject({ status: 413, body: { status: 413, code: "media_too_large" } });
    expect(refused.body["mend"]).toContain("BRIDGE_MEDIA_MAX_MB");
    expect(refused.type).toContain("application/problem+json");
    const next = await connection.post([formOf([{ name: "file", fileName: "s.png", data: pngOf("s") }])], {
      "content-type": FORM,
    });
    expect(next).toMatchObject({ status: 201, connection: refused.connection });
    expect(api.onDisk()).toEqual([next.body["id"]]);
    connection.close();
  });

  const file = { name: "file", fileName: "a.png", data: pngOf("a") };
  const account = { name: "account", data: "main" };
  it.each([
    ["no field", formOf([]), 400, "file"],
    ["another field only", formOf([{ name: "picture", fileName: "a.png", data: pngOf("a") }]), 400, "picture"],
    ["a field more", formOf([{ name: "note", data: "x" }, file]), 400, "note"],
    ["a field after the file", formOf([file, { name: "note", data: "x" }]), 400, "note"],
    ["the account after the file", formOf([file, account]), 400, "account: must come before"],
    ["two accounts", formOf([account, account, file]), 400, "account"],
    ["an account that is a file", formOf([{ ...account, fileName: "a.txt" }, file]), 400, "account"],
    ["an endless account", formOf([{ name: "account", data: "m".repeat(100_000) }, file]), 400, "account"],
    ["no account name", formOf([{ name: "account", data: "" }, file]), 400, "account"],
    ["two files", formOf([file, file]), 400, "file: one"],
    ["three files", formOf([file, file, file]), 400, "file: one"],
    ["a field named as a prototype's", formOf([{ name: "__proto__", data: "x" }, file]), 400, ""],
    ["a form without an end", formOf([file]).subarray(0, -20), 400, "body"],
    ["half a form", formOf([file]).subarray(0, 200), 400, "body"],
    ["half a part header", formOf([file]).subarray(0, 40), 400, "body"],
    ["something that is no form", Buffer.from("GIF89a is not a form"), 400, "body"],
    ["no body", Buffer.alloc(0), 400, "file"],
  ])("refuses %s, says so and keeps nothing", async (_name, body, status, word) => {
    const response = await post(body);
    const problem = await json(response);
    expect({ status: response.status, ...problem }).toMatchObject({ status, code: "invalid_request" });
    expect(problem["detail"]).toContain(word);
    expect(response.headers.get("content-type")).toContain("application/problem+json");
    expect(api.store.media.totals().files).toBe(0);
    // The directory is made by the first file.
    expect((await post(formOf([{ name: "file", fileName: "ok", data: "x" }]))).status).toBe(201);
    expect(api.onDisk()).toHaveLength(1);
    expect(api.log.filter(({ level }) => Number(level) > 40)).toEqual([]);
  });

  it.each([
    ["application/json", '{"file":"x"}'],
    ["application/octet-stream", "x"],
    ["text/plain", "x"],
    ["multipart/mixed; boundary=limit", "--limit--"],
  ])("refuses a body of %s with 415", async (type, body) => {
    const response = await post(Buffer.from(body), { type });
    expect(response.status).toBe(415);
    expect(await json(response)).toMatchObject({
      code: "invalid_request",
      detail: expect.stringContaining("content-type: must be multipart/form-data"),
    });
  });

  it("refuses a form without a boundary, and a call without anything", async () => {
    expect((await post(Buffer.from("x"), { type: "multipart/form-data" })).status).toBe(400);
    expect((await api.call("POST", "/v1/media")).status).toBe(415);
  });

  it("refuses an empty file", async () => {
    const response = await post(formOf([{ name: "file", fileName: "a.txt", data: "" }]));
    expect(response.status).toBe(400);
    expect(await json(response)).toMatchObject({ code: "media_empty" });
    expect(api.onDisk()).toEqual([]);
  });

  it("keeps a name only if it is safe", async () => {
    const response = await post(formOf([{ name: "file", fileName: "../../etc/pass\u202ewd.png", data: pngOf("a") }]));
    expect((await json(response))["fileName"]).toBe("pass wd.png");
  });

  it("looks at the token before it reads anything of the body", async () => {
    const socket = connect(api.port, "127.0.0.1").setEncoding("utf8");
    let answer = "";
    socket.on("data", (text: string) => (answer += text));
    socket.write(`POST /v1/media HTTP/1.1\r\nhost: x\r\ncontent-type: ${FORM}\r\ncontent-length: 500000\r\n\r\n`);
    await expect.poll(() => answer).toMatch(/^HTTP\/1\.1 401 .*"code":"unauthorized"/s);
    socket.destroy();
    await once(socket, "close");
  });

  it("refuses what says itself that it is too large without waiting for it", async () => {
    const socket = connect(api.port, "127.0.0.1").setEncoding("utf8");
    let answer = "";
    socket.on("data", (text: string) => (answer += text));
    const head = `POST /v1/media HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKENS.main}\r\ncontent-type: ${FORM}`;
    socket.write(`${head}\r\ncontent-length: ${2 * MAX_BYTES}\r\n\r\n`);
    await expect.poll(() => answer).toMatch(/^HTTP\/1\.1 413 .*"code":"media_too_large"/s);
    socket.destroy();
    await once(socket, "close");
  });

  it("keeps no file that the store has no row for", async () => {
    api.breakStore();
    const response = await post(formOf([{ name: "file", fileName: "a.png", data: pngOf("a") }]));
    expect(response.status).toBe(503);
    expect(await json(response)).toMatchObject({ code: "store_unavailable" });
    expect(api.onDisk()).toEqual([]);
  });

  it("keeps nothing of an upload whose caller goes away, and says nothing of it", async () => {
    const form = formOf([{ name: "file", fileName: "a.bin", data: noise("gone", 400_000) }]);
    for (const until of [60, 200_000, form.byteLength - 5]) {
      const socket = connect(api.port, "127.0.0.1");
      socket.write(
        `POST /v1/media HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKENS.main}\r\n` +
          `content-type: ${FORM}\r\ncontent-length: ${form.byteLength}\r\n\r\n`,
      );
      socket.write(form.subarray(0, until));
      // A file that has begun is seen; before its first byte there is nothing to see.
      if (until > 60) await expect.poll(() => api.onDisk()).toHaveLength(1);
      socket.destroy();
      await once(socket, "close");
      if (until > 60) await expect.poll(() => api.onDisk()).toEqual([]);
    }
    expect(api.store.media.totals().files).toBe(0);
    expect(api.log.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });

  it("refuses while the disk is nearly full, and serves what is there", async () => {
    const { id } = await json(await post(formOf([file])));
    api.knobs.refusal = new BridgeError("disk_low", "nearly full", { retryable: true, mend: "free space" });
    const connection = keptConnection(api);
    const big = formOf([{ name: "file", fileName: "b", data: noise("b", 900_000) }]);
    const refused = await connection.post([big], { "content-type": FORM });
    expect(refused).toMatchObject({ status: 503, body: { code: "disk_low", mend: "free space" } });
    api.knobs.refusal = undefined;
    expect(await connection.post([big], { "content-type": FORM })).toMatchObject({
      status: 201,
      connection: refused.connection,
    });
    connection.close();
    expect((await api.call("GET", `/v1/media/${String(id)}`)).status).toBe(200);
  });

  it("refuses uploads while the bridge stops, and serves what is there", async () => {
    const { id } = await json(await post(formOf([file])));
    api.server.refuseWork();
    const refused = await post(formOf([file]));
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(await json(refused)).toMatchObject({ code: "stopping" });
    for (const method of ["GET", "HEAD"]) {
      const response = await api.call(method, `/v1/media/${String(id)}`);
      expect([method, response.status]).toEqual([method, 200]);
      await response.arrayBuffer();
    }
  });

  it("ends an upload that is under way at the stop, without a trace", async () => {
    const socket = connect(api.port, "127.0.0.1");
    socket.on("error", () => {});
    const form = formOf([{ name: "file", fileName: "a.bin", data: noise("late", 400_000) }]);
    const headers = `POST /v1/media HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKENS.main}\r\ncontent-type: ${FORM}`;
    socket.write(`${headers}\r\ncontent-length: ${form.byteLength}\r\n\r\n`);
    socket.write(form.subarray(0, 300_000));
    await expect.poll(() => api.onDisk()).toHaveLength(1);
    await api.server.stop();
    expect(api.onDisk()).toEqual([]);
    expect(api.store.media.totals().files).toBe(0);
    socket.destroy();
  });
});

describe("whose file it is", () => {
  const file = { name: "file", fileName: "a.png", data: pngOf("a") };
  const as = (token: string, ...accounts: string[]) =>
    post(formOf([...accounts.map((data) => ({ name: "account", data })), file]), { token });

  it("is the account's of the token, or the one that is named", async () => {
    const owner = async (response: Response): Promise<string | undefined> =>
      api.store.media.find(String((await json(response))["id"]))?.account;
    expect(await owner(await as(TOKENS.second))).toBe("second");
    expect(await owner(await as(TOKENS.second, "second"))).toBe("second");
    expect(await owner(await as(TOKENS.all, "second"))).toBe("second");
    expect(await owner(await as(TOKENS.all, "default"))).toBe("main");
  });

  it.each([
    [TOKENS.all, [], 422, "account_required"],
    [TOKENS.all, ["nobody"], 422, "account_unknown"],
    [TOKENS.main, ["second"], 403, "account_forbidden"],
  ])("is refused to %s naming %j", async (token, accounts, status, code) => {
    const response = await as(token, ...accounts);
    expect({ status: response.status, ...(await json(response)) }).toMatchObject({ status, code });
    expect(api.store.media.totals().files).toBe(0);
  });
});
