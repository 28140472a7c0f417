import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { type FileServer, openDirect, sendContent, startFileServer, uploadFile } from "../support/outbound.ts";
import { pdfOf, pngOf, sha256 } from "../support/sample-files.ts";

let bridge: TestBridge;
let server: FileServer;
beforeAll(async () => {
  server = await startFileServer();
  for (let n = 0; n < 12; n += 1) server.files.set(`/${n}.png`, pngOf(`picture ${n}`));
  bridge = await startBridge({
    gateway: { mode: { kind: "silent" } },
    env: { BRIDGE_GATEWAY_URL: server.url, BRIDGE_LIMITS_API_PER_SECOND: "1000" },
    dingtalk: { knobs: { qps: 0 } },
  });
});
afterAll(async () => {
  await bridge.close();
  await server.close();
});

const markdown = (text: string) => sendContent(bridge, { type: "markdown", text });
const shown = (): string => bridge.dingtalk.sent.at(-1)?.text ?? "";
const pictures = (): (string | undefined)[] =>
  [...shown().matchAll(/!\[[^\]]*\]\(([^)]*)\)/g)].map(([, id]) => bridge.dingtalk.media.fileOf(id ?? "")?.sha256);

describe("pictures in Markdown", () => {
  it("are uploaded and shown, by any road; code is left alone", async () => {
    const code = "```\n![code](http://127.0.0.1/1.png)\n```";
    const text = `## 图\n\n![一](${server.url}/0.png) und ![](${server.url}/1.png)\n\n${code}`;
    await markdown(text);
    expect(bridge.dingtalk.sent.at(-1)?.route).toBe("oto");
    expect(pictures()).toEqual([sha256(pngOf("picture 0")), sha256(pngOf("picture 1")), undefined]);
    expect(shown()).toMatch(/^## 图\n\n!\[一\]\(@[^)]+\) und !\[\]\(@[^)]+\)\n\n/);
    expect(shown().endsWith(code)).toBe(true);
    await openDirect(bridge);
    await markdown(text);
    expect(bridge.dingtalk.sent.at(-1)?.route).toBe("webhook");
    expect(pictures().slice(0, 2)).toEqual([sha256(pngOf("picture 0")), sha256(pngOf("picture 1"))]);
    expect(bridge.dingtalk.problems).toEqual([]);
  });

  it("are the bridge's own files too", async () => {
    const id = await uploadFile(bridge, pngOf("own"), "own.png");
    await markdown(`![own](${bridge.url}/v1/media/${id})`);
    expect(pictures()).toEqual([sha256(pngOf("own"))]);
  });

  it("that cannot be had become links, and the text arrives at once", async () => {
    server.files.set("/no.pdf", pdfOf("no picture"));
    const before = server.asked.length;
    const state = await markdown(
      `![weg](${server.url}/missing.png) ![innen](http://10.0.0.1/x.png) ![pdf](${server.url}/no.pdf) ![gut](${server.url}/0.png)`,
    );
    expect(state).toMatchObject({ status: "delivered", attempts: 0 });
    expect(shown()).toMatch(
      new RegExp(
        `^\\[weg\\]\\(${server.url}/missing.png\\) \\[innen\\]\\(http://10.0.0.1/x.png\\) \\[pdf\\]\\(${server.url}/no.pdf\\) !\\[gut\\]\\(@[^)]+\\)$`,
      ),
    );
    expect(server.asked.slice(before).toSorted()).toEqual(["/0.png", "/no.pdf"]);
  });

  it("beyond the tenth of a message become links, over its parts", async () => {
    const line = (n: number): string => `![${n}](${server.url}/${n}.png)`;
    const first = Array.from({ length: 7 }, (_, n) => line(n)).join("\n\n");
    const second = Array.from({ length: 5 }, (_, n) => line(n + 7)).join("\n\n");
    const before = bridge.dingtalk.sent.length;
    await markdown(`${first}\n\n${"长".repeat(3_400)}\n\n${second}`);
    const sent = bridge.dingtalk.sent.slice(before).map(({ text }) => text);
    expect(sent.length).toBeGreaterThan(1);
    const all = sent.join("\n");
    expect(all.match(/!\[/g)).toHaveLength(10);
    expect(all).toContain(`[10](${server.url}/10.png)`);
    expect(all).toContain(`[11](${server.url}/11.png)`);
  });

  it("wait for an upload that is throttled, and become links when uploads are refused", async () => {
    bridge.dingtalk.faults.api("media/upload", { kind: "error", error: "qpsLimit", count: 1 });
    server.files.set("/throttled.png", pngOf("throttled"));
    await markdown(`![t](${server.url}/throttled.png)`);
    expect(pictures()).toEqual([sha256(pngOf("throttled"))]);
    bridge.dingtalk.faults.api("media/upload", { kind: "error", error: "permissionDenied" });
    server.files.set("/refused.png", pngOf("refused"));
    const state = await markdown(`![r](${server.url}/refused.png)`);
    bridge.dingtalk.faults.clear();
    expect(state).toMatchObject({ status: "delivered", attempts: 0 });
    expect(shown()).toBe(`[r](${server.url}/refused.png)`);
  });

  it("are asked for once in the attempts of one message", async () => {
    server.files.set("/again.png", pngOf("again"));
    server.files.set("/broken.png", (_request, response) => response.destroy());
    const before = server.asked.length;
    bridge.dingtalk.faults.expireWebhooks();
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "systemError", count: 2 });
    await markdown(`![a](${server.url}/again.png) ![b](${server.url}/broken.png) ![a](${server.url}/again.png)`);
    expect(server.asked.slice(before).toSorted()).toEqual(["/again.png", "/broken.png"]);
    expect(shown()).toContain(`[b](${server.url}/broken.png)`);
  });
});
