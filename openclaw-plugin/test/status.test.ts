import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { resolveAccount } from "../src/accounts.ts";
import { type BridgeProblem, type BridgeReport, reportOf } from "../src/probe.ts";
import { BridgeWatch, type Snapshot, type WatchTimings, buildAccountSnapshot, snapshotOf } from "../src/status.ts";
import { collectStatusIssues } from "../src/warnings.ts";

const NEVER = 3_600_000;
const TIMINGS: WatchTimings = { rightMs: NEVER, wrongMs: NEVER, startingMs: 1, gatewayGraceMs: 0, gapMs: 0 };
const GOOD = reportOf("connected", [], "1.2.3");
const bad = (code: BridgeProblem["code"], mend = "mend it"): BridgeReport =>
  reportOf(code === "away" ? "unreachable" : "degraded", [{ code, kind: "runtime", message: `wrong: ${code}`, mend }]);
const account = (settings: object = {}) =>
  resolveAccount({ channels: { dingtalk: { appKey: "k", appSecret: "s", ...settings } } }, "default", {});

let answers: BridgeReport[];
let lines: string[];
let statuses: Snapshot[];
let end: AbortController;
let running: Promise<void>;

beforeEach(() => {
  answers = [GOOD];
  lines = [];
  statuses = [];
  end = new AbortController();
});
afterEach(async () => {
  end.abort();
  await running;
});

function watch(timings: Partial<WatchTimings> = {}): BridgeWatch {
  const say = (line: string): number => lines.push(line);
  const one = new BridgeWatch({
    account: account(),
    probe: async () => (answers.length > 1 ? answers.shift()! : answers[0]!),
    setStatus: (next) => statuses.push(next),
    log: { info: say, warn: say, error: say },
    signal: end.signal,
    timings: { ...TIMINGS, ...timings },
  });
  running = one.run();
  return one;
}

test("one line at the start, one for each change, none for the same again", async () => {
  const one = watch();
  await vi.waitFor(() => expect(statuses).toHaveLength(1));
  answers = [bad("away")];
  for (let i = 0; i < 3; i += 1) await one.check();
  answers = [bad("dingtalk")];
  await one.check();
  answers = [GOOD];
  await one.check();

  expect(lines).toEqual([
    "dingtalk: account default: bridge at http://127.0.0.1:8790, version 1.2.3: connected",
    "dingtalk: account default: is now unreachable: wrong: away; mend it; the bridge is at http://127.0.0.1:8790",
    "dingtalk: account default: is now degraded: wrong: dingtalk; mend it; the bridge is at http://127.0.0.1:8790",
    "dingtalk: account default: is now connected; the bridge is at http://127.0.0.1:8790",
  ]);
  expect(statuses[1]).toMatchObject({ running: true, lifecycle: "ready", lastError: "wrong: away; mend it" });
  // OpenClaw restarts channels and calls itself unready for a `false`.
  expect(statuses.map(({ connected }) => connected)).toEqual([true, undefined, undefined, undefined, undefined, true]);
});

test("what comes in or fails makes it look again at once while something is wrong", async () => {
  answers = [bad("away"), bad("away"), GOOD];
  const one = watch();
  await vi.waitFor(() => expect(statuses).toHaveLength(1));
  one.failed();
  await vi.waitFor(() => expect(statuses).toHaveLength(2));
  one.received();
  await vi.waitFor(() => expect(statuses.at(-1)).toMatchObject({ connected: true, lastInboundAt: expect.any(Number) }));
  one.sent();
  expect(statuses.at(-1)).toMatchObject({ connected: true, lastOutboundAt: expect.any(Number) });
  expect(statuses).toHaveLength(4);
});

test("while the bridge connects it is looked at again soon", async () => {
  answers = [bad("starting"), GOOD];
  watch();
  await vi.waitFor(() => expect(lines.at(-1)).toContain("is now connected"));
});

test("what the bridge says of this gateway counts when it can know it", async () => {
  answers = [bad("gateway")];
  watch({ gatewayGraceMs: NEVER });
  await vi.waitFor(() => expect(statuses.at(-1)).toMatchObject({ connected: true, lastError: null }));
});

test("several who ask share one look, and after the end nobody is told", async () => {
  const one = watch();
  const [first, second] = await Promise.all([one.check(), one.check()]);
  expect(first).toBe(second);
  end.abort();
  await running;
  await expect(one.check()).rejects.toThrow();
  expect(statuses).toHaveLength(1);
});

test("the status that is shown has the last look's findings, a probe's before the running account's", () => {
  const runtime = { accountId: "default", running: true, lastInboundAt: 5, probe: bad("away") };
  const of = (probe?: unknown) => buildAccountSnapshot({ account: account(), cfg: {}, runtime, probe });
  expect(of()).toMatchObject({ running: true, connected: false, healthState: "unreachable", lastInboundAt: 5 });
  expect(of(GOOD)).toMatchObject({ running: true, connected: true, lastError: null });
  expect(of({ ok: false, timedOut: true })).toMatchObject({ connected: false });
  expect(buildAccountSnapshot({ account: account(), cfg: {} })).not.toHaveProperty("connected");
});

test("warnings: each problem with its mend, an open door, an account without credentials; nothing of a disabled one", () => {
  const shown = (settings: object, probe: BridgeReport) =>
    buildAccountSnapshot({ account: account(settings), cfg: {}, probe }) as Snapshot;
  expect(collectStatusIssues([shown({ dmPolicy: "open" }, bad("token"))])).toEqual([
    { channel: "dingtalk", accountId: "default", kind: "runtime", message: "wrong: token", fix: "mend it" },
    {
      channel: "dingtalk",
      accountId: "default",
      kind: "config",
      message: 'dmPolicy is "open": everybody who can find the robot in DingTalk may talk to the agent',
      fix: 'run "openclaw config set channels.dingtalk.dmPolicy pairing" to decide about each person',
    },
  ]);
  expect(collectStatusIssues([shown({ dmPolicy: "pairing" }, GOOD)])).toEqual([]);
  expect(collectStatusIssues([shown({ dmPolicy: "pairing", allowFrom: ["*"] }, GOOD)])).toEqual([
    {
      channel: "dingtalk",
      accountId: "default",
      kind: "config",
      message:
        'allowFrom has "*": everybody who can find the robot in DingTalk may talk to the agent, dmPolicy "pairing" or not',
      fix: 'take "*" out of channels.dingtalk.allowFrom',
    },
  ]);
  expect(collectStatusIssues([shown({ dmPolicy: "disabled", allowFrom: ["*"] }, GOOD)])).toEqual([]);
  const main = resolveAccount(
    { channels: { dingtalk: { accounts: { main: { appKey: "k", appSecret: "s", dmPolicy: "open" } } } } },
    "main",
    {},
  );
  expect(collectStatusIssues([snapshotOf(main)])).toMatchObject([
    {
      fix: expect.stringMatching(
        /channels\.dingtalk\.dmPolicy pairing".* or channels\.dingtalk\.accounts\.main\.dmPolicy/,
      ),
    },
  ]);
  expect(collectStatusIssues([shown({ dmPolicy: "open", allowFrom: ["staff001"] }, GOOD)])).toEqual([]);
  expect(collectStatusIssues([shown({ enabled: false }, bad("token"))])).toEqual([]);
  expect(collectStatusIssues([snapshotOf(account({ appSecret: "" }))])).toMatchObject([
    {
      kind: "auth",
      message: "account default has no App Key and App Secret",
      fix: expect.stringContaining("openclaw channels add"),
    },
  ]);
});
