import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";
import { type Person, type QueueMode, Rig } from "./support/rig.ts";

const GROUPS = [
  { conversationId: "cidMixedCASE+aB/x9Zq==", title: "测试群" },
  { conversationId: "cidOtherGroup+cD/y8Wp==", title: "另一个群" },
] as const;
const SOON = { timeout: 240_000, interval: 100 };
/** Twenty runs, most of them one after another, and a start of the gateway. */
const LONG_MS = 600_000;

/** Five conversations, two messages each. */
const PLACES: Person[] = [
  { from: "staff001" },
  { from: "staff002" },
  { from: "staff003" },
  { from: "staff001", group: GROUPS[0].conversationId },
  { from: "staff002", group: GROUPS[1].conversationId },
];
const TWICE = [...PLACES, ...PLACES];

/*
 * The gateway is killed while ten messages are on their way, and ten more come while it is away: the bridge keeps what the gateway had
 * not taken, and OpenClaw goes on by itself with what it had begun, one run for each session.
 */
describe("a gateway that dies", () => {
  let rig: Rig;

  beforeAll(async () => {
    rig = await Rig.start([...GROUPS], "steer");
  });

  afterAll(async () => await rig?.stop());

  beforeEach(() => {
    onTestFailed(() => console.error(rig.log));
  });

  describe.each(["steer", "followup"] as const)("in %s mode", (mode: QueueMode) => {
    test("loses none of twenty messages and answers none twice", { timeout: LONG_MS }, async () => {
      if (mode !== "steer") {
        await rig.gateway.configure((config) => (config["messages"] = { queue: { mode } }));
        await expect.poll(() => rig.gateway.log, SOON).toMatch(/config change.*messages/);
      }
      const names = (from: number): string[] => TWICE.map((_, index) => `${mode}${String(from + index)}`);
      // A run that took in several messages answers all that nobody has answered yet.
      for (const name of [...names(0), ...names(10)]) {
        rig.model.answers.set(name, ({ unanswered }) => `answer to ${unanswered.join(" and ")}.`);
      }
      const release = rig.model.hold();
      const say = async (from: number): Promise<void> => {
        for (const [index, name] of names(from).entries()) await rig.say(`say ${name}`, TWICE[index]);
      };
      await say(0);
      // Direct messages share a session, each group has its own, and all that runs is held at the model.
      await expect.poll(() => rig.model.requests.filter(({ word }) => word?.startsWith(mode)).length, SOON).toBe(3);
      await rig.gateway.kill();
      await say(10);
      release();
      await rig.gateway.start();

      const answers = (name: string): number =>
        rig.texts.filter((text) => new RegExp(`\\b${name}\\b`).test(text)).length;
      const all = [...names(0), ...names(10)];
      await expect.poll(() => all.filter((name) => answers(name) === 0), SOON).toEqual([]);
      const twice = all.filter((name) => answers(name) > 1);
      const resumed = rig.gateway.log.split("restart recovery").length - 1;
      console.info(`${mode} mode: ${all.length} of ${all.length} answered, twice: ${twice.join(", ") || "none"}`);
      expect(twice.length).toBeLessThanOrEqual(Math.max(resumed, PLACES.length - 2));
      expect(rig.sim.problems).toEqual([]);
    });
  });
});
