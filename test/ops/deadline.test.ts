import { expect, it } from "vitest";
import { createLogger } from "../../src/ops/logger.ts";
import type { Service } from "../../src/ops/service.ts";
import { Supervisor } from "../../src/ops/supervisor.ts";

const never = new AbortController().signal;

it("a stop in the midst of a start: waits for the one that starts, stops it, and starts no other", async () => {
  const did: string[] = [];
  const slow = Promise.withResolvers<void>();
  const service = (name: string, started: Promise<void> = Promise.resolve()): Service => ({
    name,
    start: async () => {
      did.push(`start ${name}`);
      await started;
      did.push(`started ${name}`);
    },
    stop: () => Promise.resolve(void did.push(`stop ${name}`)),
    health: () => ({ status: "ok" }),
  });
  const logger = createLogger({ level: "silent", version: "0" });
  const supervisor = new Supervisor([service("a"), service("b", slow.promise), service("c")], logger);
  const started = supervisor.start();
  await expect.poll(() => did).toContain("start b");
  const stopped = supervisor.stop({ signal: never });
  slow.resolve();
  await Promise.all([started, stopped]);
  expect(did).toEqual(["start a", "started a", "start b", "started b", "stop b", "stop a"]);
});
