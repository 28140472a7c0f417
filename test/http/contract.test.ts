import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TestBridge, startBridge } from "../support/bridge.ts";

const HEADER = "x-bridge-contract";
const PATHS = ["/v1/status", "/v1/messages/none", "/v1/no-such-path", "/v1/media/none", "/v1/dead-letters"];

let bridge: TestBridge;
beforeAll(async () => {
  bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
});
afterAll(() => bridge.close());

const message = { to: "user:staff001", content: { type: "text", text: "hi" } };

describe("the version of the contract", () => {
  it.each(PATHS)("is named in every answer of %s, also to nobody", async (path) => {
    for (const authorization of [undefined, "Bearer nobody"]) {
      const answer = await bridge.api("GET", path, undefined, authorization === undefined ? {} : { authorization });
      expect(answer.headers.get(HEADER)).toBe("1");
    }
  });

  it("is named in answers to what cannot be read, and not outside the contract", async () => {
    const broken = await bridge.api("POST", "/v1/messages", "{", { [HEADER]: "1" });
    expect([broken.status, broken.headers.get(HEADER)]).toEqual([400, "1"]);
    const health = await bridge.api("GET", "/healthz", undefined, { [HEADER]: "7" });
    expect([health.status, health.headers.get(HEADER)]).toEqual([200, null]);
  });

  it("may be left out, and is taken when it is ours", async () => {
    for (const headers of [{}, { [HEADER]: "1" }]) {
      expect((await bridge.api("POST", "/v1/messages", message, headers)).status).toBe(202);
    }
  });

  it.each(["2", "0", "", "1, 1", "one"])("%j is refused with both versions, and nothing is done", async (theirs) => {
    const answer = await bridge.api("POST", "/v1/messages", message, {
      [HEADER]: theirs,
      "idempotency-key": `k${theirs}`,
    });
    expect(answer.status).toBe(400);
    expect(answer.headers.get("content-type")).toContain("application/problem+json");
    expect(await answer.json()).toEqual({
      type: "about:blank",
      title: "Bad Request",
      status: 400,
      code: "unsupported_version",
      detail: `x-bridge-contract: this bridge speaks contract 1, the request ${JSON.stringify(theirs)}`,
      mend: "install the plugin that came with this bridge",
    });
    const again = await bridge.api("POST", "/v1/messages", message, { "idempotency-key": `k${theirs}` });
    expect(await again.json()).toMatchObject({ duplicate: false });
  });

  it("stands in the document of the API, for every call and every answer", () => {
    const file = new URL("../../docs/generated/openapi.json", import.meta.url);
    const { paths } = JSON.parse(readFileSync(file, "utf8")) as {
      paths: Record<
        string,
        Record<string, { parameters?: { name: string }[]; responses: Record<string, { headers?: object }> }>
      >;
    };
    for (const [path, calls] of Object.entries(paths)) {
      for (const { parameters = [], responses } of Object.values(calls)) {
        const isNamed = parameters.some(({ name }) => name === "X-Bridge-Contract");
        const answers = Object.values(responses).filter(({ headers = {} }) => "X-Bridge-Contract" in headers);
        expect([isNamed, answers.length > 0]).toEqual(path.startsWith("/v1/") ? [true, true] : [false, false]);
      }
    }
  });
});
