import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { createLogger } from "../../src/ops/logger.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { type RobotOf } from "../../src/flows/quota-book.ts";
import { QuotaGovernor } from "../../src/flows/quota.ts";
import { storedQuota } from "../../src/flows/quota-stored.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { LogCapture } from "../support/bridge.ts";

const HOUR = 3_600_000;
const at = (text: string): number => Date.parse(`${text}+08:00`);
const delivered = { kind: "delivered" } as const;
const exhausted = {
  kind: "retry",
  code: "dingtalk_quota_exhausted",
  class: "peer-away",
  detail: "ApiCountLimitForOrg",
} as const;
const both = { roads: ["units", "calls"], mention: false } as const;
const MAIN = { name: "main", robotCode: "robot1" };
const SECOND = { name: "second", robotCode: "robot2" };

/** A governor on a real store, with a clock that goes only when told. */
function start(options: { accounts?: RobotOf[]; now?: number; calls?: number; units?: number } = {}) {
  const { accounts = [MAIN], calls = 100, units = 100 } = options;
  const directory = mkdtempSync(join(tmpdir(), "bridge-quota-"));
  const clock = { time: options.now ?? at("2026-11-10T12:00"), now: () => clock.time, monotonic: () => clock.time };
  const logs = new LogCapture();
  const logger = createLogger({ level: "info", version: "test", destination: logs });
  const metrics = createMetrics();
  const quota = { plan: "standard", calls, units } as const;
  const open = () => {
    const store = new SqliteStore({ directory, metrics });
    return {
      store,
      governor: new QuotaGovernor({ quota, store: store.quota, accounts: () => accounts, clock, logger, metrics }),
    };
  };
  let running = open();
  onTestFinished(async () => {
    await running.store.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    clock,
    logs,
    metrics,
    get governor() {
      return running.governor;
    },
    send(name: "oto" | "webhook", times: number, account = "main"): void {
      for (let n = 0; n < times; n += 1) running.governor.observe(account, name, delivered);
    },
    async restart(): Promise<void> {
      await running.store.close();
      running = open();
    },
    report: (account?: string) => running.governor.report(account).organisations,
    stored: () =>
      storedQuota(
        { dataDir: directory, quota, accounts: accounts.map((one) => ({ ...one, enabled: true })) },
        clock.time,
      ),
    said: (text: string | RegExp) => logs.lines.filter(({ msg }) => String(msg).match(text)),
  };
}

describe("counting", () => {
  it("goes on after a restart, and the file tells the same", async () => {
    const bridge = start();
    bridge.send("oto", 3);
    bridge.send("webhook", 2);
    bridge.governor.observe("main", "oto", { kind: "retry", code: "dingtalk_throttled", class: "peer-away" });
    await bridge.restart();
    bridge.send("oto", 1);
    const expected = { calls: { used: 4, byClass: { oto: 4 } }, units: { used: 2, byClass: { webhook: 2 } } };
    expect(bridge.report()).toMatchObject([expected]);
    await bridge.restart();
    expect(bridge.stored()?.organisations).toMatchObject([expected]);
  });

  it("begins anew at 00:00 Asia/Shanghai", async () => {
    const bridge = start({ now: at("2026-11-30T23:59:59.999") });
    bridge.send("oto", 60);
    bridge.clock.time += 1;
    expect(bridge.governor.report()).toMatchObject({ month: "2026-12", endsAt: "2026-12-31T16:00:00.000Z" });
    expect(bridge.report()).toMatchObject([{ calls: { used: 0 } }]);
    bridge.send("oto", 1);
    await bridge.restart();
    expect(bridge.report()).toMatchObject([{ calls: { used: 1 } }]);
    // A clock that is set back finds the old month again.
    bridge.clock.time -= 1;
    expect(bridge.report()).toMatchObject([{ calls: { used: 60 } }]);
    bridge.clock.time = at("2027-05-01T00:00");
    expect(bridge.governor.report()).toMatchObject({ month: "2027-05", organisations: [{ calls: { used: 0 } }] });
  });

  it("adds the accounts of one organisation once it is known, and keeps strangers apart", async () => {
    const bridge = start({ accounts: [MAIN, SECOND, { name: "third", robotCode: "robot3" }] });
    bridge.send("oto", 1);
    bridge.send("oto", 2, "second");
    bridge.send("oto", 4, "third");
    expect(bridge.report().map(({ accounts, calls }) => [accounts, calls.used])).toEqual([
      [["main"], 1],
      [["second"], 2],
      [["third"], 4],
    ]);
    bridge.governor.learn("main", "corpA");
    bridge.governor.learn("second", "corpA");
    bridge.governor.learn("third", "corpB");
    await bridge.restart();
    expect(bridge.report().map(({ organisation, accounts, calls }) => [organisation, accounts, calls.used])).toEqual([
      ["corpA", ["main", "second"], 3],
      ["corpB", ["third"], 4],
    ]);
    expect(bridge.report("second")).toMatchObject([{ accounts: ["second"], calls: { used: 3 } }]);
  });

  it("warns once per level and month, restarts included", async () => {
    const bridge = start();
    bridge.send("oto", 49);
    expect(bridge.said(/are used/)).toEqual([]);
    bridge.send("oto", 31);
    await bridge.restart();
    bridge.send("oto", 20);
    expect(bridge.said(/are used/).map(({ reached, budget }) => [budget, reached])).toEqual([
      ["calls", 50],
      ["calls", 80],
      ["calls", 95],
    ]);
    bridge.clock.time = at("2026-12-01T00:00");
    bridge.send("oto", 50);
    expect(bridge.said(/are used/)).toHaveLength(4);
    expect(bridge.said(/50 % of the month's Open API calls are used \(counted by this bridge/)).toHaveLength(2);
  });

  it("never closes anything by itself", () => {
    const bridge = start();
    bridge.send("oto", 500);
    bridge.send("webhook", 500);
    expect(bridge.governor.order("main", both)).toEqual(["calls", "units"]);
    expect(bridge.governor.health()).toEqual({ status: "ok" });
  });
});

describe("a budget that DingTalk refuses", () => {
  it("is closed until the month ends, tried once an hour, and named with its mend", async () => {
    const bridge = start({ now: at("2026-11-29T12:00") });
    bridge.governor.observe("main", "oto", exhausted);
    expect(bridge.governor.order("main", both)).toEqual(["units"]);
    expect(bridge.governor.order("main", { roads: ["calls"], mention: false })).toEqual([]);
    expect(bridge.governor.ladder("main")).toBe(3);
    expect(bridge.governor.health()).toMatchObject({
      status: "degraded",
      code: "quota_exhausted",
      detail: expect.stringContaining("main: Open API calls"),
      mend: expect.stringContaining("资源管理"),
    });
    await bridge.restart();
    expect(bridge.governor.order("main", both)).toEqual(["units"]);

    bridge.clock.time += HOUR - 1;
    expect(bridge.governor.order("main", both)).toEqual(["units"]);
    bridge.clock.time += 1;
    expect(bridge.governor.order("main", both)).toEqual(["calls", "units"]);
    // One reply is enough of a probe, whatever became of it.
    expect(bridge.governor.order("main", both)).toEqual(["units"]);
    bridge.governor.observe("main", "oto", exhausted);
    expect(bridge.said(/DingTalk refuses/)).toHaveLength(1);
    expect(bridge.report()).toMatchObject([{ calls: { used: 0, closed: { since: "2026-11-29T04:00:00.000Z" } } }]);

    bridge.clock.time = at("2026-12-01T00:00");
    expect(bridge.governor.order("main", both)).toEqual(["units", "calls"]);
    expect(bridge.governor.health()).toEqual({ status: "ok" });
    await bridge.restart();
    expect(bridge.report()).toMatchObject([{ calls: { closed: null } }]);
  });

  it("opens again when a probe is taken, for good", async () => {
    const bridge = start();
    bridge.governor.observe("main", "oto", exhausted);
    bridge.clock.time += HOUR;
    expect(bridge.governor.order("main", both)[0]).toBe("calls");
    bridge.governor.observe("main", "oto", delivered);
    expect(bridge.said(/takes Open API calls again/)).toHaveLength(1);
    await bridge.restart();
    expect(bridge.governor.order("main", both)).toEqual(["units", "calls"]);
  });

  it("leaves notices what is not kept for inbound messages, and asking takes no probe", () => {
    const bridge = start();
    expect(bridge.governor.affordable("main")).toBe(true);
    bridge.governor.observe("main", "oto", exhausted);
    expect(bridge.governor.affordable("main")).toBe(true);
    bridge.send("webhook", 70);
    expect(bridge.governor.affordable("main")).toBe(false);
    bridge.clock.time += HOUR;
    expect(bridge.governor.affordable("main")).toBe(false);
    expect(bridge.governor.order("main", both)[0]).toBe("calls");
  });

  it("may be both", () => {
    const bridge = start();
    bridge.governor.observe("main", "oto", exhausted);
    bridge.governor.observe("main", "webhook", exhausted);
    expect(bridge.governor.order("main", both)).toEqual([]);
    expect(bridge.governor.order("main", { ...both, mention: true })).toEqual([]);
    bridge.clock.time += HOUR;
    expect(bridge.governor.order("main", both).toSorted()).toEqual(["calls", "units"]);
  });

  it("is closed for all accounts of the organisation and for nobody else", () => {
    const bridge = start({ accounts: [MAIN, SECOND, { name: "third", robotCode: "robot3" }] });
    bridge.governor.learn("main", "corpA");
    bridge.governor.learn("second", "corpA");
    bridge.governor.observe("main", "oto", exhausted);
    expect(bridge.governor.order("second", both)).toEqual(["units"]);
    expect(bridge.governor.order("third", both)).toEqual(["units", "calls"]);
    bridge.clock.time += HOUR;
    bridge.governor.observe("second", "oto", delivered);
    expect(bridge.governor.order("main", both)).toEqual(["units", "calls"]);
  });

  it("is closed by a message without its text and opened by one with it", () => {
    const bridge = start();
    bridge.governor.refused("main", "units", "20001 受调用量超量影响");
    expect(bridge.governor.order("main", both)).toEqual(["calls"]);
    expect(bridge.report()).toMatchObject([{ units: { used: 0, closed: { detail: "20001 受调用量超量影响" } } }]);
    bridge.governor.accepted("main", bridge.governor.usage("main", "inbound"));
    expect(bridge.report()).toMatchObject([{ units: { used: 1, closed: null } }]);
  });
});

describe("what others read", () => {
  it("has gauges by organisation, without the label it had before the corpId was known", async () => {
    const bridge = start({ calls: 200 });
    bridge.send("oto", 40);
    bridge.governor.sample();
    bridge.governor.learn("main", "corpA");
    bridge.governor.observe("main", "webhook", exhausted);
    bridge.governor.sample();
    const text = await bridge.metrics.registry.metrics();
    expect(text).toContain('dingtalk_bridge_quota_used{organisation="corpA",budget="calls"} 40');
    expect(text).toContain('dingtalk_bridge_quota_limit{organisation="corpA",budget="calls"} 200');
    expect(text).toContain('dingtalk_bridge_quota_closed{organisation="corpA",budget="units"} 1');
    // Counted since today only, so a day's use for each of the 20.5 days that are left.
    expect(text).toContain('dingtalk_bridge_quota_projected{organisation="corpA",budget="calls"} 860');
    expect(text).not.toContain("account:main");
  });

  it("has a ladder that is entered when calls run ahead of the calendar and left when they do not", () => {
    const bridge = start({ now: at("2026-11-01T00:00") });
    bridge.send("oto", 1);
    bridge.clock.time = at("2026-11-16T00:00");
    bridge.send("oto", 23);
    expect(bridge.governor.ladder("main")).toBe(0);
    bridge.send("oto", 36);
    expect(bridge.report()).toMatchObject([{ ladder: 1, calls: { used: 60, projected: 120 } }]);
    bridge.send("oto", 10);
    expect(bridge.governor.ladder("main")).toBe(2);
    bridge.send("oto", 10);
    expect(bridge.governor.ladder("main")).toBe(3);
    bridge.clock.time = at("2026-11-28T00:00");
    expect(bridge.governor.ladder("main")).toBe(0);
  });
});
