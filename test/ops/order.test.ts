import { expect, it, onTestFinished } from "vitest";
import { build } from "../../src/compose.ts";
import { createLogger } from "../../src/ops/logger.ts";
import { CREDENTIALS, Place } from "../config/support.ts";

it("starts from the disk outwards and ends at DingTalk; a stop goes the other way", async () => {
  const place = new Place();
  const { config } = place.load({ ...CREDENTIALS, BRIDGE_DATA_DIR: place.dir });
  const logger = createLogger({ level: "silent", version: "0" });
  const parts = build(config, { logger, version: "0" }, () => false);
  onTestFinished(async () => {
    await parts.close();
    place[Symbol.dispose]();
  });
  const order = parts.supervisor.services.map(({ name }) => name);
  const milestones = ["disk", "http", "outbox-lanes", "streams", "intake", "inbox-lanes", "accounts"];
  expect(order.filter((name) => milestones.includes(name))).toEqual(milestones);
  expect(order.at(-1)).toBe("accounts");
});
