import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type PairingRequest, PairingWatch } from "../src/pairing-watch.ts";

const HOUR = 3_600_000;
const PERSON: PairingRequest = { id: "staff001", to: "user:staff001", request: "r1", isTold: true };

let folder: string;
let file: string;
let now: number;
let warnings: string[];
let approved: string[];
let confirmed: string[];
let refusals: number;
let stop: AbortController;
let runs: Promise<void>[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pairing-watch-"));
  file = join(folder, "below", "pairing.json");
  now = 1_700_000_000_000;
  warnings = [];
  approved = [];
  confirmed = [];
  refusals = 0;
  stop = new AbortController();
  runs = [];
});

afterEach(async () => {
  stop.abort();
  await Promise.all(runs);
  await rm(folder, { recursive: true, force: true });
});

const watchOf = (): PairingWatch =>
  new PairingWatch({ file: () => file, warn: (line) => warnings.push(line), now: () => now, pollMs: 5 });

function run(watch: PairingWatch, accountId = "default"): void {
  runs.push(
    watch.run({
      accountId,
      signal: stop.signal,
      readApproved: async () => approved,
      confirm: async ({ id, request }) => {
        if (refusals > 0) {
          refusals -= 1;
          throw new Error("the bridge is away");
        }
        confirmed.push(`${id}/${request}`);
      },
    }),
  );
}

describe("an approval", () => {
  test("is noticed and confirmed once", async () => {
    const watch = watchOf();
    run(watch);
    await watch.asked("default", PERSON);
    approved = ["staff001"];
    await expect.poll(() => confirmed).toEqual(["staff001/r1"]);
    await expect.poll(async () => watch.find("default", "staff001")).toBeUndefined();
    await watch.asked("default", { ...PERSON, id: "staff002", request: "r2" });
    approved = ["staff001", "staff002"];
    await expect.poll(() => confirmed).toEqual(["staff001/r1", "staff002/r2"]);
  });

  test("is confirmed after a restart, too", async () => {
    await watchOf().asked("default", PERSON);
    approved = ["staff001"];
    run(watchOf());
    await expect.poll(() => confirmed).toEqual(["staff001/r1"]);
    await expect.poll(async () => JSON.parse(await readFile(file, "utf8"))).toEqual({ default: [] });
  });

  test("of one account is none of another", async () => {
    const watch = watchOf();
    await watch.asked("second", PERSON);
    await watch.asked("default", { ...PERSON, id: "staff002", request: "r2" });
    approved = ["staff001", "staff002"];
    run(watch);
    await expect.poll(() => confirmed).toEqual(["staff002/r2"]);
  });

  test("that somebody else has confirmed is not confirmed again", async () => {
    const watch = watchOf();
    await watch.asked("default", PERSON);
    await watch.asked("default", { ...PERSON, id: "staff002", request: "r2" });
    await watch.confirmed("default", "staff001");
    approved = ["staff001", "staff002"];
    run(watch);
    await expect.poll(() => confirmed).toEqual(["staff002/r2"]);
  });

  test("that cannot be confirmed is said, and the loop ends when it is told to", async () => {
    refusals = 1;
    const watch = watchOf();
    await watch.asked("default", PERSON);
    approved = ["staff001"];
    run(watch);
    await expect.poll(() => warnings).toEqual([expect.stringContaining("the bridge is away")]);
    expect(await watch.find("default", "staff001")).toBeDefined();
  });
});

describe("a request", () => {
  test("is forgotten after an hour, as OpenClaw does", async () => {
    const watch = watchOf();
    await watch.asked("default", PERSON);
    now += HOUR - 1;
    expect(await watch.find("default", "staff001")).toMatchObject({ request: "r1" });
    await watch.asked("default", PERSON);
    now += 1;
    expect(await watch.find("default", "staff001")).toBeUndefined();
    run(watch);
    await expect.poll(async () => JSON.parse(await readFile(file, "utf8"))).toEqual({ default: [] });
    expect(confirmed).toEqual([]);
  });

  test("is there though the file cannot be read", async () => {
    await watchOf().asked("default", PERSON);
    await writeFile(file, "{ broken");
    const watch = watchOf();
    expect(await watch.find("default", "staff001")).toBeUndefined();
    await watch.asked("default", PERSON);
    expect(await watch.find("default", "staff001")).toBeDefined();
    expect(warnings).toEqual([expect.stringContaining("cannot be read")]);
  });

  test("that could not be given is told once an hour", () => {
    const watch = watchOf();
    expect(watch.mayRefuse("default", "staff001")).toBe(true);
    watch.refused("default", "staff001");
    now += HOUR - 1;
    expect([watch.mayRefuse("default", "staff001"), watch.mayRefuse("second", "staff001")]).toEqual([false, true]);
    now += 1;
    expect(watch.mayRefuse("default", "staff001")).toBe(true);
  });
});
