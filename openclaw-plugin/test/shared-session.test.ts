import { expect, test } from "vitest";
import { SharedSessions } from "../src/shared-session.ts";

const MAIN = { sessionKey: "agent:main:main", mainSessionKey: "agent:main:main" };
const OWN = { sessionKey: "agent:main:dingtalk:direct:staff002", mainSessionKey: "agent:main:main" };
const OTHER_AGENT = { sessionKey: "agent:coder:main", mainSessionKey: "agent:coder:main" };

function sessions(): { lines: string[]; shared: SharedSessions } {
  const lines: string[] = [];
  const say = (line: string): number => lines.push(line);
  return { lines, shared: new SharedSessions({ info: say, warn: say, error: say }) };
}

test("a second person in the same session is said once, with the command that keeps them apart", () => {
  const { lines, shared } = sessions();
  expect(shared.admitted(MAIN, "staff001")).toBe(false);
  expect(shared.admitted(MAIN, "staff001")).toBe(false);
  expect(shared.admitted(MAIN, "staff002")).toBe(true);
  expect(shared.admitted(MAIN, "staff003")).toBe(false);
  expect(shared.isShared).toBe(true);
  expect(lines).toEqual([expect.stringContaining("openclaw config set session.dmScope per-channel-peer")]);
});

test("people with sessions of their own, or with other agents, share nothing", () => {
  const { lines, shared } = sessions();
  for (const [route, person] of [
    [MAIN, "staff001"],
    [OWN, "staff002"],
    [OTHER_AGENT, "staff003"],
  ] as const)
    expect(shared.admitted(route, person)).toBe(false);
  expect(lines).toEqual([]);
});

test("kept apart later, they share nothing any more", () => {
  const { shared } = sessions();
  shared.admitted(MAIN, "staff001");
  shared.admitted(MAIN, "staff002");
  expect(shared.admitted(OWN, "staff002")).toBe(true);
  expect(shared.isShared).toBe(false);
});
