import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ApiFault } from "../../src/sandbox/dingtalk-faults.ts";
import { namedErrors } from "../../src/sandbox/dingtalk-errors.ts";
import { startDingtalkSimulator, type DingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { app, call, openBody, openTicket, type Answer } from "./dingtalk-client.ts";

let sim: DingtalkSimulator;
let path: string;

beforeEach(async () => {
  sim = await startDingtalkSimulator({ apps: [app], knobs: { gatewayTimeoutMs: 20 } });
  const body = (await sim.say({ text: "x" })).body as { sessionWebhook: string };
  path = body.sessionWebhook.slice(sim.url.length);
});
afterEach(() => sim.close());

const reply = (text = "hello"): Promise<Answer> => call(sim, path, { msgtype: "text", text: { content: text } });
const fault = (fault: ApiFault): void => sim.faults.api("sendBySession", fault);

describe("a fault that answers", () => {
  it.each<[ApiFault, number, string]>([
    [{ kind: "answer", status: 418, body: { code: "teapot" } }, 418, '{"code":"teapot"}'],
    [{ kind: "answer", body: "plain", contentType: "text/plain" }, 200, "plain"],
    [{ kind: "error", error: "systemError" }, 500, "system.error"],
    [{ kind: "error", error: "badGateway" }, 502, "<html>"],
    [{ kind: "html" }, 502, "<html>"],
    [{ kind: "html", status: 200 }, 200, "<html>"],
    [{ kind: "xml" }, 200, "<?xml"],
    [{ kind: "gatewayTimeout" }, 504, "service.timeout"],
  ])("%j", async (planned, status, text) => {
    fault({ ...planned, count: 1 });
    expect(await reply()).toMatchObject({ status, text: expect.stringContaining(text) });
    expect(sim.sent).toEqual([]);
    expect(sim.requests).toMatchObject([{ api: "sendBySession", status, executed: false, fault: planned.kind }]);
    expect(await reply()).toMatchObject({ status: 200, json: { errcode: 0 } });
    expect(sim.sent).toHaveLength(1);
  });

  it("knows the published errors by name", async () => {
    for (const error of namedErrors) {
      fault({ kind: "error", error, count: 1 });
      const answer = await reply();
      expect(answer.text).not.toBe("");
      expect(answer.headers.get("retry-after")).toBeNull();
    }
    expect(sim.sent).toEqual([]);
  });
});

describe("executed, but the answer is lost", () => {
  it.each<ApiFault>([
    { kind: "gatewayTimeout", executed: true },
    { kind: "error", error: "unavailable", executed: true },
    { kind: "truncated" },
  ])("$kind", async (planned) => {
    fault(planned);
    const answer = await reply();
    expect(answer.json).not.toHaveProperty("errcode");
    expect(sim.sent).toMatchObject([{ text: "hello", answered: false }]);
    expect(sim.requests).toMatchObject([{ executed: true, fault: planned.kind }]);
  });

  it.each<ApiFault>([{ kind: "reset", executed: true }, { kind: "shortBody" }])("$kind", async (planned) => {
    fault(planned);
    await expect(reply()).rejects.toThrow(/fetch failed|terminated/);
    expect(sim.sent).toMatchObject([{ text: "hello", answered: false }]);
  });

  it("hang: until the caller gives up", async () => {
    fault({ kind: "hang", executed: true });
    const body = JSON.stringify({ msgtype: "text", text: { content: "x" } });
    const headers = { "content-type": "application/json" };
    const signal = AbortSignal.timeout(50);
    await expect(fetch(sim.url + path, { method: "POST", headers, body, signal })).rejects.toThrow(/timeout/);
    await expect.poll(() => sim.requests).toMatchObject([{ status: 499, code: "closed", executed: true }]);
    expect(sim.sent).toMatchObject([{ answered: false }]);
  });

  it("slow: unless the caller goes first", async () => {
    fault({ kind: "slow", delayMs: 5_000, count: 1 });
    const body = JSON.stringify({ msgtype: "text", text: { content: "x" } });
    const headers = { "content-type": "application/json" };
    const signal = AbortSignal.timeout(50);
    await expect(fetch(sim.url + path, { method: "POST", headers, body, signal })).rejects.toThrow(/timeout/);
    await expect.poll(() => sim.sent).toMatchObject([{ answered: false }]);
    fault({ kind: "slow", delayMs: [1, 30] });
    expect(await reply("second")).toMatchObject({ json: { errcode: 0 } });
    expect(sim.sent[1]).toMatchObject({ text: "second", answered: true });
  });
});

describe("a plan", () => {
  it("without execution leaves no trace in the chat", async () => {
    fault({ kind: "reset" });
    await expect(reply()).rejects.toThrow(/fetch failed|terminated/);
    expect(sim.sent).toEqual([]);
    expect(sim.requests).toMatchObject([{ status: 499, code: "reset", executed: false }]);
  });

  it("counts, skips, and ends with clear", async () => {
    fault({ kind: "error", error: "oapiBusy", skip: 1, count: 2 });
    const codes = async (n: number): Promise<unknown[]> => {
      const all = [];
      for (let i = 0; i < n; i++) all.push((await reply()).json["errcode"]);
      return all;
    };
    expect(await codes(4)).toEqual([0, -1, -1, 0]);
    fault({ kind: "error", error: "oapiBusy" });
    expect(await codes(2)).toEqual([-1, -1]);
    sim.faults.clear();
    expect(await codes(1)).toEqual([0]);
  });

  it("follows chance and app", async () => {
    await sim.close();
    const chances = [0.1, 0.9];
    sim = await startDingtalkSimulator({ apps: [app], random: () => chances.shift() ?? 0 });
    sim.faults.open({ kind: "error", error: "unavailable", probability: 0.5 });
    const open = (): Promise<Answer> => call(sim, "/v1.0/gateway/connections/open", openBody());
    expect([(await open()).status, (await open()).status]).toEqual([503, 200]);
    sim.faults.clear();
    sim.faults.api("*", { kind: "error", error: "unavailable", app: "other" });
    expect((await open()).status).toBe(200);
    sim.faults.api("*", { kind: "error", error: "unavailable", app: app.appKey });
    expect((await open()).status).toBe(503);
  });

  it("may replace the endpoint of connections/open", async () => {
    sim.faults.open({ kind: "endpoint", endpoint: "ws://nowhere.invalid/connect", count: 1 });
    expect(await openTicket(sim)).toMatch(/^ws:\/\/nowhere\.invalid\/connect\?ticket=[0-9a-f-]{36}$/);
    expect(await openTicket(sim)).toContain("127.0.0.1");
  });

  it("may answer connections/open with the page of a broken proxy", async () => {
    sim.faults.open({ kind: "error", error: "plainHttpHtml" });
    const answer = await call(sim, "/v1.0/gateway/connections/open", openBody());
    expect(answer).toMatchObject({ status: 400, text: expect.stringContaining("tengine") });
  });
});
