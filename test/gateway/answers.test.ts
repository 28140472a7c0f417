import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readAnswer } from "../../src/gateway/answers.ts";

const answer = (status: number, body = "", contentType = "application/json", retryAfterMs?: number) =>
  readAnswer({ status, body, contentType, retryAfterMs }, 1_000);
const problem = (status: number, code: string) =>
  answer(status, JSON.stringify({ code, detail: "why" }), "application/problem+json");

describe("what the gateway's answers mean", () => {
  it.each([
    ["200 is taken", answer(200, "{}"), { kind: "delivered" }],
    ["200 without a body is taken", answer(200, "", ""), { kind: "delivered" }],
    ["409 is taken before", answer(409), { kind: "delivered" }],
    ["202 is held for the time it says", answer(202, "", "", 2_000), { kind: "held", afterMs: 2_000 }],
    ["202 is held for 15 s", answer(202), { kind: "held", afterMs: 15_000 }],
    [
      "a final code ends it",
      problem(400, "invalid_envelope"),
      { kind: "rejected", code: "invalid_envelope", detail: "why" },
    ],
    ["a final code ends it", problem(422, "rejected"), { kind: "rejected", code: "rejected", detail: "why" }],
    ["429 comes again", answer(429, "", "", 3_000), { kind: "retry", class: "peer-away", afterMs: 3_000 }],
    ["503 comes again", answer(503), { kind: "retry", class: "peer-away", code: "gateway_unavailable" }],
    ["500 comes again, and counts", answer(500), { kind: "retry", class: "entry", code: "gateway_unavailable" }],
  ])("%s", (_name, { outcome, wrongSetup }, expected) => {
    expect(outcome).toMatchObject(expected);
    expect(wrongSetup).toBeUndefined();
  });

  it.each([
    ["no plugin", answer(404), /openclaw plugins install/],
    ["another service's page", answer(200, "<html>", "text/html; charset=utf-8"), /openclaw plugins install/],
    ["a refused token", answer(401), /App Secret|BRIDGE_TOKEN/],
    ["a problem of no contract code", problem(400, "whatever"), /BRIDGE_GATEWAY_URL/],
    ["a final code without problem+json", answer(400, '{"code":"rejected"}'), /BRIDGE_GATEWAY_URL/],
    ["a redirect", answer(302), /BRIDGE_GATEWAY_URL/],
  ])("%s keeps everything and names the mend", (_name, { outcome, wrongSetup }, mend) => {
    expect(outcome).toMatchObject({ kind: "retry", class: "peer-away", code: "gateway_misconfigured" });
    expect(wrongSetup?.mend).toMatch(mend);
  });

  it("keeps why nothing will come", () => {
    const body = JSON.stringify({ decision: "denied: dm_policy", reason: "pairing", runId: "r1", more: true });
    expect(answer(200, body).outcome).toEqual({
      kind: "delivered",
      receipt: { route: "gateway", at: 1_000, decision: "denied: dm_policy", reason: "pairing", runId: "r1" },
    });
  });

  it("never throws and never loses a message to an answer it does not know", () => {
    const types = fc.constantFrom("application/json", "application/problem+json", "text/html", "", "x");
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 599 }), fc.string(), types, (status, body, contentType) => {
        const { outcome } = answer(status, body, contentType);
        if (outcome.kind === "rejected") expect(body).toMatch(/invalid_envelope|unsupported_version|rejected/);
        if (outcome.kind === "delivered") expect(status === 409 || (status >= 200 && status < 300)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
