import { afterEach, describe, expect, it } from "vitest";
import { deriveToken } from "../../src/domain/account.ts";
import { type GatewayMode, type GatewaySimulator, startGatewaySimulator } from "../../src/sandbox/gateway-simulator.ts";
import { freePort } from "../support/daemon.ts";
import { pdfOf, pngOf, sha256 } from "../support/sample-files.ts";
import { folder, sandboxHere, SandboxProcess } from "./terminal-client.ts";

const APP_KEY = "dingsandbox000000001";
const TOKEN = deriveToken(APP_KEY, "sandbox-secret-of-no-worth");

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function scratch(): ReturnType<typeof folder> {
  const files = folder();
  cleanups.push(() => files.close());
  return files;
}

function start(...args: string[]): SandboxProcess {
  const sandbox = new SandboxProcess(...args);
  cleanups.push(() => sandbox.close());
  return sandbox;
}

/** A gateway of one's own, and the port that its bridge has to have. */
async function ownGateway(
  mode: GatewayMode,
  stream?: () => AsyncIterable<string>,
): Promise<{ gateway: GatewaySimulator; port: number; gatewayUrl: string }> {
  const port = await freePort();
  const gateway = await startGatewaySimulator({
    accounts: [{ id: "main", appKey: APP_KEY, token: TOKEN }],
    bridgeUrl: `http://127.0.0.1:${port}`,
    mode,
    ...(stream && { stream }),
  });
  cleanups.push(() => gateway.close());
  return { gateway, port, gatewayUrl: gateway.url };
}

describe("one shot", () => {
  it("says a text, prints the answer, ends", async () => {
    const sandbox = start("--say", "你好");
    expect(await sandbox.end()).toBe(0);
    expect(sandbox.rest).toBe("you    > 你好\nrobot  > 收到:你好\n");
  });

  it("prints all of an answer that grows", async () => {
    const sandbox = start("--say", "stream");
    expect(await sandbox.end()).toBe(0);
    expect(sandbox.rest).toMatch(/card, growing[\s\S]*card, finished[\s\S]*\nDone\.\n$|Done\.\n$/);
  });

  it("sends a file, and both answers come", async () => {
    const data = pdfOf("once");
    const files = [scratch().write("once.pdf", data)];
    const { status, text } = await sandboxHere({ files });
    expect(status).toBe(0);
    expect(text.split("\n")).toEqual([
      "you    > [file once.pdf 516 B]",
      "robot  > 收到文件:",
      `         - file once.pdf, application/pdf, 516 B, sha256 ${sha256(data).slice(0, 8)}`,
      "robot  > [file once.pdf 516 B]",
      "",
    ]);
  });

  it("sends a picture with the text, another file behind it", async () => {
    const files = scratch();
    const picture = await sandboxHere({ say: "看图", files: [files.write("a.png", pngOf("a"))] });
    expect(picture.text).toMatch(/robot {2}> 收到:看图\n {9}- image [^\n]*\nrobot {2}> \[image/);
    const other = await sandboxHere({ say: "看看", files: [files.write("a.txt", "看看")] });
    expect(other.text).toMatch(/收到:看看\nrobot {2}> 收到文件:\n {9}- file a\.txt, text\/plain, 6 B/);
    expect([picture.status, other.status]).toEqual([0, 0]);
  });

  it("fails on a file that is not there, before anything starts", async () => {
    const path = `${scratch().directory}/nothing.pdf`;
    expect(await sandboxHere({ say: "x", files: [path] })).toEqual({ status: 1, text: `${path}: no such file\n` });
  });

  it("fails when no answer comes in time", async () => {
    const { gateway, port, gatewayUrl } = await ownGateway({ kind: "silent" });
    const { status, text } = await sandboxHere({ say: "hello?", port, gatewayUrl, answerWithinMs: 300 });
    expect(status).toBe(1);
    expect(text).toContain("no answer: 0.3 s without a sign");
    expect(gateway.taken).toHaveLength(1);
  });

  it("fails when it is interrupted", async () => {
    const { gateway, port, gatewayUrl } = await ownGateway({ kind: "silent" });
    const quit = new AbortController();
    gateway.events.once("taken", () => quit.abort());
    expect(await sandboxHere({ say: "hello?", port, gatewayUrl, signal: quit.signal })).toMatchObject({ status: 1 });
  });
});

describe("with a gateway of one's own", () => {
  it("prints its answer", async () => {
    const { port, gatewayUrl } = await ownGateway({ kind: "echo" });
    const sandbox = start("--gateway", gatewayUrl, "--port", String(port), "--say", "自己的");
    expect(await sandbox.end()).toBe(0);
    expect(sandbox.rest).toContain("robot  > 收到:自己的");
  });

  it("writes one line over and over on a terminal, and the whole text at the end", async () => {
    const shown = Promise.withResolvers<void>();
    const { port, gatewayUrl } = await ownGateway({ kind: "echo" }, async function* () {
      yield "第一段 \u001b[31m";
      // What follows may go into the card's last update: the first one is on the screen then.
      await shown.promise;
      yield "和第二段";
    });
    const ended = sandboxHere({
      say: "hi",
      port,
      gatewayUrl,
      isTTY: true,
      onOutput: (text) => {
        if (text.includes("letters] 第一段")) shown.resolve();
      },
    });
    const { status, text } = await ended;
    expect(status).toBe(0);
    expect(text.split("\r\u001b[2K").at(-2)).toMatch(/robot {2}> \[card, \d+ letters\] 第一段/);
    expect(text.split("\r\u001b[2K").at(-1)).toBe("robot  > [card, finished] 第一段 和第二段\n");
    expect(text).not.toContain("[31m");
  });
});

describe("a pipe", () => {
  it("is read to its end, and the last answer is waited for", async () => {
    const sandbox = start();
    expect(await sandbox.end("最后一句")).toBe(0);
    expect(sandbox.rest).toMatch(/robot {2}> 收到:最后一句\n$/);
  });
});
