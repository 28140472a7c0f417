import { beforeEach, describe, expect, it } from "vitest";
import { CardBreaker } from "../../src/flows/card-breaker.ts";
import { CardDoors } from "../../src/flows/card-doors.ts";
import { CardProblems } from "../../src/flows/card-problems.ts";
import { capturedLogger } from "../support/dingtalk-http.ts";

let now = 0;
const clock = { now: () => now, monotonic: () => now };
beforeEach(() => {
  now = 1_000;
});

describe("a conversation whose cards fail", () => {
  it("is left alone for 30 s, then one attempt decides, the wait doubling up to ten minutes", () => {
    const breaker = new CardBreaker({ clock });
    expect(breaker.admits("a")).toBe(true);
    const waits = [30, 60, 120, 240, 480, 600, 600];
    for (const seconds of waits) {
      breaker.begin("a");
      breaker.failed("a");
      now += seconds * 1_000 - 1;
      expect(breaker.admits("a")).toBe(false);
      now += 1;
      expect(breaker.admits("a")).toBe(true);
      expect(breaker.admits("b")).toBe(true);
    }
    breaker.begin("a");
    expect(breaker.admits("a")).toBe(false);
    breaker.worked("a");
    expect(breaker.admits("a")).toBe(true);
  });

  it("is tried by one at a time, and by the next when nothing came of it", () => {
    const breaker = new CardBreaker({ clock });
    breaker.failed("a");
    now += 30_000;
    breaker.begin("a");
    expect(breaker.admits("a")).toBe(false);
    breaker.dropped("a");
    expect(breaker.admits("a")).toBe(true);
  });

  it("may fail a few times where that is said", () => {
    const breaker = new CardBreaker({ clock });
    for (const admits of [true, true, false]) {
      breaker.failed("a", 3);
      expect(breaker.admits("a")).toBe(admits);
    }
  });
});

describe("what keeps all cards of an account away", () => {
  it("is said once, shown in health, and tried again later and later", () => {
    const { logger, text } = capturedLogger();
    const problems = new CardProblems({ clock, logger });
    expect(problems.health()).toEqual({ status: "ok" });
    problems.note("main", "stream", "403");
    problems.note("main", "stream", "403");
    expect(problems.admits("main")).toBe(false);
    expect(problems.admits("other")).toBe(true);
    expect(problems.health()).toMatchObject({
      status: "degraded",
      mend: expect.stringContaining("AI卡片流式更新权限 (Card.Streaming.Write)"),
    });
    now += 30_000;
    expect(problems.admits("main")).toBe(true);
    problems.note("main", "stream", "403");
    now += 30_000;
    expect(problems.admits("main")).toBe(false);
    now += 30_000;
    expect(problems.admits("main")).toBe(true);
    problems.solved("main", "create");
    expect(problems.health().status).toBe("degraded");
    problems.solved("main", "stream");
    expect(problems.health()).toEqual({ status: "ok" });
    expect(text().split("stream no text to cards")).toHaveLength(2);
  });

  it("is for ten minutes where it is the template", () => {
    const problems = new CardProblems({ clock, logger: capturedLogger().logger });
    problems.note("main", "template", "unknown");
    now += 599_999;
    expect(problems.admits("main")).toBe(false);
    now += 1;
    expect(problems.admits("main")).toBe(true);
  });
});

describe("the door of a conversation", () => {
  it("is shut while cards are created there, and wakes who waited", () => {
    const doors = new CardDoors();
    expect(doors.of("a")).toBeUndefined();
    const [first, second] = [doors.shut("a"), doors.shut("a")];
    const woken: string[] = [];
    const [one, two] = [() => void woken.push("one"), () => void woken.push("two")];
    expect(doors.of("a")?.enter(one)).toBe(false);
    expect(doors.of("a")?.enter(two)).toBe(false);
    doors.of("a")?.leave(two);
    first();
    first();
    expect(woken).toEqual([]);
    second();
    expect(woken).toEqual(["one"]);
    expect(doors.of("a")).toBeUndefined();
  });

  it("moves with the conversation", () => {
    const doors = new CardDoors();
    const open = doors.shut("user");
    doors.merged("user", "cid");
    expect(doors.of("cid")).toBe(doors.of("user"));
    open();
    expect([doors.of("cid"), doors.of("user")]).toEqual([undefined, undefined]);
  });
});
