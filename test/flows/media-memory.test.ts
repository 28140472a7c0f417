import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, test } from "vitest";
import { MediaFiles } from "../../src/flows/media-files.ts";
import { createGuardedFetch } from "../../src/flows/media-guard.ts";
import { zipOf } from "../../src/flows/media-zip.ts";
import { temporaryDirectory } from "../queue/helpers.ts";
import { silent } from "../queue/runner.ts";

const MB = 1024 * 1024;
const ABOUT = { account: "main", origin: "url" as const, maxBytes: 1_000 * MB, createdAt: 0 };

/** The largest growth of the process while a source is read; the source itself is one piece of memory, given again and again. */
class Watch {
  readonly #start = process.memoryUsage.rss();
  peak = 0;

  async *source(megabytes: number): AsyncIterable<Uint8Array> {
    const piece = Buffer.alloc(64 * 1024, 7);
    for (let n = 0; n < megabytes * 16; n += 1) {
      this.peak = Math.max(this.peak, process.memoryUsage.rss() - this.#start);
      yield piece;
    }
  }
}

function open(): MediaFiles {
  return new MediaFiles({ directory: join(temporaryDirectory(), "media"), refusal: () => undefined, logger: silent });
}

describe("memory stays flat", () => {
  test("64 MB to disk", async () => {
    const files = open();
    // Code and buffers that every later file uses again.
    await files.write(new Watch().source(4), ABOUT);
    const watch = new Watch();
    expect((await files.write(watch.source(64), ABOUT)).bytes).toBe(64 * MB);
    expect(watch.peak / MB).toBeLessThan(30);
  });

  test("64 MB through the guard to disk and into an archive: not more than what the collector leaves lying", async () => {
    const files = open();
    let watch = new Watch();
    const server = createServer((request, response) => {
      pipeline(Readable.from(watch.source(Number(request.url?.slice(1)))), response).catch(() => {});
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const fetch = createGuardedFetch({ allowOrigins: () => [origin], userAgent: "test" });
    const get = async (megabytes: number) => {
      const { body } = await fetch(`${origin}/${megabytes}`, { maxBytes: ABOUT.maxBytes, timeoutMs: 18_000 });
      return files.write(body, ABOUT);
    };
    try {
      const small = await get(8);
      await files.write(zipOf(files.pathOf(small.id), "a"), ABOUT);
      watch = new Watch();
      const file = await get(64);
      expect(file.bytes).toBe(64 * MB);
      const zip = await files.write(zipOf(files.pathOf(file.id), "a.bin"), ABOUT);
      expect(zip.mimeType).toBe("application/zip");
      // Each read of a socket is memory of its own: V8 lets some 32 MB of it lie. The whole file would be above.
      expect(watch.peak / MB).toBeLessThan(56);
    } finally {
      await fetch.close();
      server.close();
      await once(server, "close");
    }
  });
});
