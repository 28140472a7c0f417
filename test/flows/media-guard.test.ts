import { gzipSync } from "node:zlib";
import { Agent } from "undici";
import { afterEach, describe, expect, test, vi } from "vitest";
import { BridgeError } from "../../src/domain/errors.ts";
import { isPublicAddress } from "../../src/flows/media-public-address.ts";
import { type GuardOptions, createGuardedFetch } from "../../src/flows/media-guard.ts";
import {
  type Guard,
  type Handler,
  LIMITS,
  LocalServer,
  PUBLIC,
  contents,
  failure,
  internetOf,
  resolver,
} from "./media-guard-support.ts";

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

async function serve(handler: Handler): Promise<LocalServer> {
  const server = await LocalServer.start(handler);
  opened.push(server);
  return server;
}

function guard(options: Partial<GuardOptions> = {}): Guard {
  const made = createGuardedFetch({ allowOrigins: () => [], userAgent: "dingtalk-bridge/test", ...options });
  opened.unshift(made);
  return made;
}

const hello: Handler = (_request, response) => void response.end("hello");
const redirectTo =
  (location: string, status = 302): Handler =>
  (_request, response) =>
    void response.writeHead(status, { location }).end("moved");

describe("what is fetched", () => {
  test("a public name: body, name and declared type; one look-up, no credentials, nothing compressed", async () => {
    const server = await serve((_request, response) => {
      response.setHeader("content-type", "image/png");
      response.setHeader("content-disposition", "attachment; filename*=UTF-8''%E5%9B%BE.png");
      response.end("hello");
    });
    const { lookup, asked } = resolver({ "files.example": [[PUBLIC, "2606:4700::1111"]] });
    const dialled: string[] = [];
    const fetch = guard({ lookup, connectorTo: internetOf(server, dialled) });
    const fetched = await fetch("http://files.example/a/b.bin?secret=1", LIMITS);
    expect(fetched).toMatchObject({ fileName: "图.png", declaredType: "image/png" });
    expect(await contents(fetched)).toBe("hello");
    expect(asked).toEqual(["files.example"]);
    expect(dialled).toEqual([PUBLIC, "2606:4700::1111"]);
    const { headers } = server.requests[0]!;
    expect(headers).toMatchObject({ "accept-encoding": "identity", "user-agent": "dingtalk-bridge/test" });
    expect(headers).not.toHaveProperty("authorization");
    expect(headers).not.toHaveProperty("cookie");
  });

  test("an allow-listed origin, by the exact scheme, host and port; the name comes from the URL", async () => {
    const server = await serve(hello);
    const fetch = guard({ allowOrigins: () => [`${server.origin}/some/path`, "no URL"] });
    const fetched = await fetch(`${server.origin}/%E6%8A%A5%E5%91%8A.pdf`, LIMITS);
    expect(fetched.fileName).toBe("报告.pdf");
    expect(await contents(fetched)).toBe("hello");
    for (const other of [`http://localhost:${server.port}/`, `http://127.0.0.2:${server.port}/`]) {
      expect(await failure(fetch(other, LIMITS))).toMatchObject({ code: "media_url_refused", retryable: false });
    }
    expect(server.requests).toHaveLength(1);
  });

  test("redirects within what is allowed, up to five of them", async () => {
    const server = await serve((request, response) => {
      const left = Number(request.url?.slice(1));
      if (left === 0) response.end("there");
      else response.writeHead(307, { location: `/${left - 1}` }).end();
    });
    const fetch = guard({ allowOrigins: () => [server.origin] });
    expect(await contents(await fetch(`${server.origin}/5`, LIMITS))).toBe("there");
    expect(await failure(fetch(`${server.origin}/6`, LIMITS))).toMatchObject({ code: "media_url_refused" });
    expect(server.requests).toHaveLength(12);
  });
});

describe("what is refused", () => {
  test("URLs by their words: nothing is even looked up", async () => {
    const { lookup, asked } = resolver({});
    const fetch = guard({ lookup });
    const urls = [
      "",
      "no url",
      "file:///etc/passwd",
      "ftp://files.example/",
      "data:text/plain,x",
      "//files.example/x",
      "javascript:1",
      "http://",
      "http://user@files.example/",
      "https://u:p@files.example/",
      "http://:p@files.example/",
      "http://files.example:22/",
      "http://files.example:25/",
      "http://files.example:1023/",
      "http://files.example:99999/",
      "http://localhost/",
      "http://localhost./",
      "http://LOCALHOST:8080/",
      "http://a.localhost/",
      "http://ｌｏｃａｌｈｏｓｔ/",
      `http://files.example/${"a".repeat(9_000)}`,
    ];
    for (const url of urls) {
      const error = await failure(fetch(url, LIMITS));
      expect(error, url).toMatchObject({ code: "media_url_refused", retryable: false });
    }
    expect(asked).toEqual([]);
  });

  test("literal addresses of this machine and its networks, in every notation", async () => {
    const server = await serve(hello);
    const fetch = guard({ connectorTo: internetOf(server) });
    const hosts = [
      "127.0.0.1",
      "127.1",
      "2130706433",
      "0x7f000001",
      "0x7f.0.0.1",
      "0177.0.0.1",
      "017700000001",
      "127.0.0.1.",
      "0.0.0.0",
      "0",
      "10.0.0.1",
      "172.16.3.4",
      "192.168.1.1",
      "169.254.169.254",
      "0xa9fea9fe",
      "100.64.0.1",
      "224.0.0.1",
      "255.255.255.255",
      "198.18.0.1",
      "192.0.0.1",
      "192.0.2.7",
      "240.0.0.1",
      "①②⑦.0.0.1",
      "127。0。0。1",
      "１２７.0.0.1",
      "%31%32%37.0.0.1",
      "[::1]",
      "[::]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[::127.0.0.1]",
      "[::ffff:0:127.0.0.1]",
      "[0:0:0:0:0:ffff:a9fe:a9fe]",
      "[fc00::1]",
      "[fd00:ec2::254]",
      "[fe80::1]",
      "[ff02::1]",
      "[fec0::1]",
      "[64:ff9b::127.0.0.1]",
      "[64:ff9b:1::1]",
      "[2002:7f00:1::]",
      "[2001::1]",
      "[2001:db8::1]",
      "[100::1]",
      "[4000::1]",
      "[5f00::1]",
    ];
    for (const host of hosts) {
      const error = await failure(fetch(`http://${host}:8080/`, LIMITS));
      expect(error, host).toMatchObject({ code: "media_url_refused", retryable: false });
    }
    expect(server.connections).toBe(0);
  });

  test("names that lead there, also with one address of several", async () => {
    const server = await serve(hello);
    const { lookup } = resolver({
      "private.example": [["10.1.2.3"]],
      "mixed.example": [[PUBLIC, "127.0.0.1"]],
      "mapped.example": [["::ffff:127.0.0.1"]],
      "v6.example": [["::1"]],
      "zone.example": [["fe80::1%eth0"]],
      "trailing.example.": [["127.0.0.1"]],
      "odd.example": [["2130706433"]],
    });
    const fetch = guard({ lookup, connectorTo: internetOf(server) });
    for (const name of ["private", "mixed", "mapped", "v6", "zone", "odd"]) {
      expect(await failure(fetch(`http://${name}.example/`, LIMITS)), name).toMatchObject({
        code: "media_url_refused",
      });
    }
    expect(await failure(fetch("http://trailing.example./", LIMITS))).toMatchObject({ code: "media_url_refused" });
    expect(server.connections).toBe(0);
  });

  test("redirects to them, from a public name as from an allow-listed origin", async () => {
    const inside = await serve(hello);
    const targets = [
      `http://127.0.0.1:${inside.port}/`,
      `http://rebound.example:${inside.port}/`,
      `//localhost:${inside.port}/`,
      "file:///etc/passwd",
      `http://u:p@files.example/`,
    ];
    for (const target of targets) {
      for (const status of [301, 302, 303, 307, 308]) {
        const outside = await serve(redirectTo(target, status));
        const { lookup } = resolver({ "files.example": [[PUBLIC]], "rebound.example": [["127.0.0.1"]] });
        const direct = guard({ lookup, allowOrigins: () => [outside.origin] });
        expect(await failure(direct(outside.origin, LIMITS)), target).toMatchObject({ code: "media_url_refused" });
        const open = guard({ lookup, connectorTo: internetOf(outside) });
        expect(await failure(open("http://files.example/", LIMITS))).toMatchObject({ code: "media_url_refused" });
        expect(outside.requests).toHaveLength(2);
      }
    }
    expect(inside.connections).toBe(0);
  });

  test("an allow-listed origin that a stranger's server leads to, unless it is public", async () => {
    const inside = await serve(hello);
    const outside = await serve(redirectTo(`${inside.origin}/x`));
    const { lookup } = resolver({ "files.example": [[PUBLIC]], "gateway.example": [[PUBLIC]] });
    const fetch = guard({ lookup, allowOrigins: () => [inside.origin], connectorTo: internetOf(outside) });
    expect(await failure(fetch("http://files.example/", LIMITS))).toMatchObject({ code: "media_url_refused" });
    expect(outside.requests).toHaveLength(1);
    const origin = `http://gateway.example:${inside.port}`;
    const open = await serve(({ headers }, response) => {
      if (headers.host === "files.example") response.writeHead(302, { location: `${origin}/x` }).end();
      else response.end("hello");
    });
    const publicly = guard({ lookup, allowOrigins: () => [origin], connectorTo: internetOf(open) });
    expect(await contents(await publicly("http://files.example/", LIMITS))).toBe("hello");
    expect(inside.connections).toBe(0);
  });

  test("a name that answers public first and private then (DNS rebinding)", async () => {
    const outside = await serve(redirectTo("/again"));
    const { lookup, asked } = resolver({ "rebind.example": [[PUBLIC], ["127.0.0.1"]] });
    const dialled: string[] = [];
    const fetch = guard({ lookup, connectorTo: internetOf(outside, dialled) });
    const url = `http://rebind.example:${outside.port}/`;
    // The second request is a connection of its own, so a look-up and a check of its own.
    expect(await failure(fetch(url, LIMITS))).toMatchObject({ code: "media_url_refused" });
    expect(asked).toEqual(["rebind.example", "rebind.example"]);
    expect(dialled).toEqual([PUBLIC]);
    expect(outside.requests).toHaveLength(1);
  });

  test("the connection goes to the very addresses that were checked: the system is not asked again", async () => {
    // A name that no resolver knows: only the pinned answer can lead to the server.
    const server = await serve(hello);
    const { lookup, asked } = resolver({ "pinned.invalid": [["127.0.0.1"], [PUBLIC]] });
    const origin = `http://pinned.invalid:${server.port}`;
    const fetch = guard({ lookup, allowOrigins: () => [origin] });
    expect(await contents(await fetch(`${origin}/x`, LIMITS))).toBe("hello");
    expect(asked).toEqual(["pinned.invalid"]);
    expect(server.requests[0]?.headers.host).toBe(`pinned.invalid:${server.port}`);
  });

  test("a kept-alive connection is never used again: an origin taken off the list is checked at once", async () => {
    const server = await serve(hello);
    const allowed = [server.origin];
    const fetch = guard({ allowOrigins: () => allowed });
    await contents(await fetch(server.origin, LIMITS));
    await contents(await fetch(server.origin, LIMITS));
    expect(server.connections).toBe(2);
    allowed.pop();
    expect(await failure(fetch(server.origin, LIMITS))).toMatchObject({ code: "media_url_refused" });
    expect(server.connections).toBe(2);
  });
});

test("isPublicAddress: IPv4 within IPv6 counts as what it is", () => {
  const open = [PUBLIC, "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"];
  for (const address of open) expect(isPublicAddress(address), address).toBe(true);
  const closed = [
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "2606:4700::1%1",
    "",
    "files.example",
    "8.8.8",
    "8.8.8.8:80",
  ];
  for (const address of closed) expect(isPublicAddress(address), address).toBe(false);
});

describe("with a proxy", () => {
  test("literal and resolved addresses are checked before the request; allow-listed origins go directly", async () => {
    const proxy = await serve(hello);
    const neighbour = await serve(hello);
    const { lookup } = resolver({ "files.example": [[PUBLIC]], "inside.example": [["192.168.0.9"]] });
    const dispatcher = new Agent({ connect: internetOf(proxy)([]) });
    opened.push(dispatcher);
    const fetch = guard({ lookup, dispatcher, allowOrigins: () => [neighbour.origin] });
    expect(await contents(await fetch("http://files.example/a.png", LIMITS))).toBe("hello");
    expect(proxy.requests).toHaveLength(1);
    for (const url of ["http://127.0.0.1:9/", "http://[::1]:8080/", "http://inside.example/"]) {
      expect(await failure(fetch(url, LIMITS)), url).toMatchObject({ code: "media_url_refused" });
    }
    expect(await failure(fetch("http://unknown.example/", LIMITS))).toMatchObject({ code: "media_not_fetched" });
    expect(proxy.requests).toHaveLength(1);
    const trusting = guard({ lookup, dispatcher, proxyMayResolve: true });
    expect(await contents(await trusting("http://unknown.example/", LIMITS))).toBe("hello");
    for (const url of ["http://inside.example/", "http://127.0.0.1/"]) {
      expect(await failure(trusting(url, LIMITS)), url).toMatchObject({ code: "media_url_refused" });
    }
    expect(proxy.requests).toHaveLength(2);
    expect(await contents(await fetch(neighbour.origin, LIMITS))).toBe("hello");
    expect(neighbour.requests).toHaveLength(1);
    expect(proxy.requests).toHaveLength(2);
  });
});

describe("bounds", () => {
  test("Content-Length beyond the cap: no body is read", async () => {
    const server = await serve((_request, response) => {
      response.writeHead(200, { "content-length": 1_000_001 });
      response.flushHeaders();
    });
    const fetch = guard({ allowOrigins: () => [server.origin] });
    expect(await failure(fetch(server.origin, LIMITS))).toMatchObject({ code: "media_too_large", retryable: false });
    await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  });

  test("an endless body ends a chunk beyond the cap, and the connection with it", async () => {
    const server = await serve((_request, response) => {
      const more = (): void => {
        while (response.writable && response.write(Buffer.alloc(10_000)));
      };
      response.on("drain", more);
      more();
    });
    const fetch = guard({ allowOrigins: () => [server.origin] });
    const { body } = await fetch(server.origin, LIMITS);
    let bytes = 0;
    const reading = (async () => {
      for await (const chunk of body) bytes += chunk.byteLength;
    })();
    await expect(reading).rejects.toMatchObject({ code: "media_too_large" });
    expect(bytes).toBeLessThanOrEqual(LIMITS.maxBytes);
    await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  });

  test("a body that is not read holds the sender back", async () => {
    let written = 0;
    const server = await serve((_request, response) => {
      const more = (): void => {
        while (response.writable && response.write(Buffer.alloc(100_000), () => (written += 100_000)));
      };
      response.on("drain", more);
      more();
    });
    const fetch = guard({ allowOrigins: () => [server.origin] });
    const fetched = await fetch(server.origin, { ...LIMITS, maxBytes: 1_000_000_000 });
    // Sockets buffer some MB; it stands still when two looks see the same.
    let before = -1;
    await vi.waitFor(
      () => {
        const now = written;
        const same = now === before;
        before = now;
        expect(same).toBe(true);
      },
      { interval: 300, timeout: 10_000 },
    );
    expect(written).toBeLessThan(50_000_000);
    await fetched.close();
    await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  });

  test.each<[string, Handler]>([
    ["no answer", () => {}],
    ["a body that stops", (_request, response) => void response.write("a")],
    ["a redirect that leads to no answer", redirectTo("/again")],
  ])("the deadline ends it: %s", async (_name, handler) => {
    const server = await serve((request, response) => {
      if (request.url !== "/again") handler(request, response);
    });
    const fetch = guard({ allowOrigins: () => [server.origin] });
    const error = await failure(fetch(server.origin, { ...LIMITS, timeoutMs: 200 }));
    expect(error).toMatchObject({ code: "media_not_fetched", retryable: true });
    await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  });

  test("the deadline ends it: a look-up and a connection that never come back", async () => {
    const stuckLookup = guard({ lookup: () => new Promise(() => {}) });
    const options = { ...LIMITS, timeoutMs: 100 };
    expect(await failure(stuckLookup("http://files.example/", options))).toMatchObject({ code: "media_not_fetched" });
    const { lookup } = resolver({ "files.example": [[PUBLIC]] });
    const stuckConnection = guard({ lookup, connectorTo: () => () => {} });
    expect(await failure(stuckConnection("http://files.example/", options))).toMatchObject({
      code: "media_not_fetched",
    });
  });

  test("a body that nobody reads ends at the deadline without harm", async () => {
    const server = await serve((_request, response) => void response.write("a"));
    const fetch = guard({ allowOrigins: () => [server.origin] });
    const fetched = await fetch(server.origin, { ...LIMITS, timeoutMs: 200 });
    await vi.waitFor(() => expect(server.sockets.size).toBe(0));
    await expect(contents(fetched)).rejects.toMatchObject({ code: "media_not_fetched" });
  });

  test("the caller's signal ends it, before, while waiting and while reading; its own BridgeError is the reason", async () => {
    const server = await serve((request, response) => void (request.url === "/body" && response.write("a")));
    const fetch = guard({ allowOrigins: () => [server.origin] });
    const over = { ...LIMITS, signal: AbortSignal.abort() };
    expect(await failure(fetch(server.origin, over))).toMatchObject({ code: "interrupted", retryable: true });
    expect(server.connections).toBe(0);
    const waiting = new AbortController();
    const wait = failure(fetch(`${server.origin}/`, { ...LIMITS, signal: waiting.signal }));
    await vi.waitFor(() => expect(server.requests).toHaveLength(1));
    waiting.abort();
    expect(await wait).toMatchObject({ code: "interrupted" });
    const reading = new AbortController();
    const { body } = await fetch(`${server.origin}/body`, { ...LIMITS, signal: reading.signal });
    const pieces = body[Symbol.asyncIterator]();
    expect(Buffer.from((await pieces.next()).value ?? []).toString()).toBe("a");
    const reason = new BridgeError("media_expired", "too late");
    reading.abort(reason);
    await expect(pieces.next()).rejects.toBe(reason);
    await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  });
});

describe("answers that are no file", () => {
  test.each([
    [404, false],
    [403, false],
    [204, undefined],
    [206, false],
    [304, false],
    [302, false],
    [408, true],
    [429, true],
    [500, true],
    [503, true],
  ])("status %i", async (status, retryable) => {
    const server = await serve((_request, response) => void response.writeHead(status).end());
    const fetch = guard({ allowOrigins: () => [server.origin] });
    if (retryable === undefined) expect(await contents(await fetch(server.origin, LIMITS))).toBe("");
    else {
      expect(await failure(fetch(server.origin, LIMITS))).toMatchObject({ code: "media_not_fetched", retryable });
    }
  });

  test("compressed against the request: never unpacked", async () => {
    const server = await serve((_request, response) => {
      response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(Buffer.alloc(10_000_000)));
    });
    const fetch = guard({ allowOrigins: () => [server.origin] });
    const error = await failure(fetch(server.origin, LIMITS));
    expect(error).toMatchObject({ code: "media_not_fetched", retryable: false });
  });

  test("a body that breaks off, a refused connection, an unknown name, no HTTP: the message has no URL", async () => {
    const cut = await serve((_request, response) => {
      response.writeHead(200, { "content-length": 10 }).write("abc", () => response.socket?.destroy());
    });
    const noise = await serve((request) => void request.socket.end("hello\r\n\r\n"));
    const gone = await LocalServer.start(hello);
    const goneOrigin = gone.origin;
    await gone.close();
    const { lookup } = resolver({});
    const fetch = guard({
      lookup,
      allowOrigins: () => [cut.origin, noise.origin, goneOrigin],
    });
    for (const [url, retryable] of [
      [`${cut.origin}/secret`, true],
      [`${goneOrigin}/secret`, true],
      ["http://unknown.example/secret", true],
      [`${noise.origin}/secret`, false],
    ] as const) {
      const error = await failure(fetch(url, LIMITS));
      expect(error, url).toMatchObject({ code: "media_not_fetched", retryable });
      expect(error.message).not.toContain("secret");
    }
  });
});
