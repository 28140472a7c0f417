import { mkdtemp, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { describe, expect, test } from "vitest";
import { Lanes, OLDEST_OPENCLAW, commandsOvertake, inboundRun, misfit } from "../src/compat.ts";
import { type Entry, Ledger } from "../src/ledger.ts";

const nothing = (): void => undefined;

/** As much of OpenClaw's runtime as is looked at. */
function runtime(version: string, { isNew }: { isNew: boolean }) {
  const runs: unknown[] = [];
  const channel = {
    routing: { resolveAgentRoute: nothing },
    inbound: {
      run: (params: unknown) => runs.push(params),
      buildContext: nothing,
      ...(isNew && { dispatch: nothing }),
    },
    text: { hasControlCommand: nothing },
    pairing: { readAllowFromStore: nothing, upsertPairingRequest: nothing },
    media: { saveResponseMedia: nothing },
    session: {
      resolveStorePath: (_: unknown, { agentId }: { agentId: string }) => `store of ${agentId}`,
      recordInboundSession: nothing,
    },
    reply: { dispatchReplyWithBufferedBlockDispatcher: (asked: unknown) => asked },
  };
  const fake = {
    version,
    config: { current: nothing },
    state: { resolveStateDir: nothing },
    media: { loadWebMedia: nothing },
    channel,
  };
  return { fake, runs, host: fake as unknown as PluginRuntime };
}
const older = runtime("2026.6.11", { isNew: false });
const between = runtime("2026.8.2", { isNew: true });
const newer = runtime("2026.9.6", { isNew: true });

describe("what this OpenClaw lacks", () => {
  test("nothing, on the releases that the tests run on", () => {
    expect(misfit(older.fake)).toBeUndefined();
    expect(misfit(newer.fake)).toBeUndefined();
  });

  test("is named in one line, with the release and the oldest that works", () => {
    const { fake } = runtime("2026.4.29", { isNew: false });
    const { inbound: _, media: __, ...channel } = fake.channel;
    const said = misfit({ ...fake, channel });
    expect(said).toBe(
      "OpenClaw 2026.4.29 has no channel.inbound.run, channel.inbound.buildContext, channel.media.saveResponseMedia, which this plugin needs; " +
        "the oldest OpenClaw that works is 2026.6.11: update OpenClaw (openclaw update)",
    );
  });

  test("the older turn plan needs more than the newer one", () => {
    const { fake } = runtime("2026.5.7", { isNew: false });
    expect(misfit({ ...fake, channel: { ...fake.channel, session: {} } })).toContain(
      "channel.session.resolveStorePath",
    );
    expect(misfit({ ...newer.fake, channel: { ...newer.fake.channel, session: {}, reply: {} } })).toBeUndefined();
  });

  test.each(["2026.10.1", "2026.6.11", "2027.1.1"])("on %s it is the plugin that is too old", (version) => {
    const said = misfit({ ...newer.fake, version, media: {} });
    expect(said).toContain("media.loadWebMedia");
    expect(said).toContain("update the plugin");
  });

  test.each(["2026.6.10", "2026.5.31-beta.3", "2025.12.1"])("%s is too old", (version) => {
    expect(misfit({ version })).toContain("openclaw update");
  });

  test("package.json names the same oldest release", () => {
    const { openclaw, peerDependencies } = createRequire(import.meta.url)("../package.json") as {
      openclaw: { compat: { pluginApi: string }; install: { minHostVersion: string } };
      peerDependencies: { openclaw: string };
    };
    const range = `>=${OLDEST_OPENCLAW}`;
    expect([openclaw.compat.pluginApi, openclaw.install.minHostVersion, peerDependencies.openclaw]).toEqual([
      range,
      range,
      range,
    ]);
  });
});

describe("the turn plan", () => {
  const told: string[] = [];
  const params = {
    channel: "dingtalk",
    raw: "the message",
    adapter: {
      ingest: nothing,
      resolveTurn: () => ({
        cfg: {},
        route: { agentId: "main", sessionKey: "agent:main:main" },
        replyOptions: { onAgentRunStart: (runId: string) => told.push(runId), disableBlockStreaming: true },
      }),
    },
    turnAdoptionLifecycle: { onAdopted: () => told.push("adopted") },
  };
  type Params = Parameters<ReturnType<typeof inboundRun>>[0];
  const call = (host: PluginRuntime): unknown => inboundRun(host)(params as unknown as Params);

  test("goes as it is to an OpenClaw that finds the session by the route", () => {
    void call(newer.host);
    expect(newer.runs.at(-1)).toBe(params);
  });

  test("names the session's place to an older one, and the run's start is the adoption", async () => {
    void call(older.host);
    const { adapter } = older.runs.at(-1) as { adapter: { resolveTurn: () => Promise<Record<string, unknown>> } };
    const plan = await adapter.resolveTurn();
    expect(plan).toMatchObject({
      agentId: "main",
      routeSessionKey: "agent:main:main",
      storePath: "store of main",
      recordInboundSession: expect.any(Function),
      replyOptions: { disableBlockStreaming: true },
    });
    const { onAgentRunStart } = plan["replyOptions"] as { onAgentRunStart: (runId: string) => void };
    onAgentRunStart("run1");
    onAgentRunStart("run2");
    expect(told).toEqual(["run1", "adopted", "run2"]);
  });
});

/** What the turn plan of an older OpenClaw is given to call. */
async function callsFor(
  host: PluginRuntime,
  runs: unknown[],
): Promise<Record<string, (asked: unknown) => Promise<unknown>>> {
  const plan = { cfg: {}, route: { agentId: "main", sessionKey: "agent:main:main" } };
  const params = { channel: "dingtalk", raw: "", adapter: { ingest: nothing, resolveTurn: () => plan } };
  void inboundRun(host)(params as unknown as Parameters<ReturnType<typeof inboundRun>>[0]);
  const { adapter } = runs.at(-1) as { adapter: { resolveTurn: () => Promise<Awaited<ReturnType<typeof callsFor>>> } };
  return await adapter.resolveTurn();
}

test("before 2026.7 the sessions on disk look changed when a turn begins, so that they are read again", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "dingtalk-bridge-store-")), "sessions.json");
  await writeFile(file, "{}");
  await utimes(file, 1, 1);
  for (const [version, isTouched] of [
    ["2026.7.35", false],
    ["2026.6.11", true],
  ] as const) {
    const { host, runs, fake } = runtime(version, { isNew: false });
    Object.assign(fake.channel.session, { resolveStorePath: () => file });
    const calls = await callsFor(host, runs);
    expect(await calls["dispatchReplyWithBufferedBlockDispatcher"]!("asked")).toBe("asked");
    expect((await stat(file)).mtimeMs > 1_000).toBe(isTouched);
  }
  await rm(dirname(file), { recursive: true });
});

test("there a turn begins when OpenClaw has noted its message", async () => {
  const { promise: noted, resolve: note } = Promise.withResolvers<void>();
  const { host, runs, fake } = runtime("2026.6.11", { isNew: false });
  Object.assign(fake.channel.session, {
    resolveStorePath: () => "/nowhere/sessions.json",
    recordInboundSession: (params: { trackSessionMetaTask: (task: Promise<unknown>) => void }) =>
      params.trackSessionMetaTask(noted),
  });
  const calls = await callsFor(host, runs);
  await calls["recordInboundSession"]!({});
  let isAnswered = false;
  const answer = calls["dispatchReplyWithBufferedBlockDispatcher"]!("asked").then(() => (isAnswered = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(isAnswered).toBe(false);
  note();
  expect(await answer).toBe(true);
});

describe("the turns of a conversation", () => {
  const taken = { kind: "taken", decision: { decision: "accepted" } } as const;
  const begin = () => {
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    const turn = async (entry: Entry): Promise<void> => {
      started.resolve();
      entry.note(taken);
      await over;
    };
    return { end, turn, started: started.promise };
  };
  const start = (host: PluginRuntime, lanes: Lanes, turn: (entry: Entry) => Promise<void>, overtakes = false) => {
    const entry = new Ledger().begin("main:msg1");
    return { entry, done: lanes.run(host, { lane: "one", overtakes, entry }, turn) };
  };

  test("are OpenClaw's affair where it can deal with them", async () => {
    const lanes = new Lanes();
    const [first, second] = [begin(), begin()];
    const one = start(newer.host, lanes, first.turn);
    const two = start(newer.host, lanes, second.turn);
    await Promise.all([first.started, second.started]);
    expect([one.entry.standing, two.entry.standing]).toEqual([taken, taken]);
    first.end();
    second.end();
    await Promise.all([one.done, two.done]);
  });

  test("run one after another on an older one, and a message is taken when its turn is over", async () => {
    const lanes = new Lanes();
    const [first, second, stop] = [begin(), begin(), begin()];
    const one = start(older.host, lanes, first.turn);
    const two = start(older.host, lanes, second.turn);
    await first.started;
    const three = start(older.host, lanes, stop.turn, true);
    await stop.started;
    expect([one, two, three].map(({ entry }) => entry.standing)).toEqual([undefined, undefined, undefined]);

    stop.end();
    await three.done;
    expect([one, two, three].map(({ entry }) => entry.standing)).toEqual([undefined, undefined, taken]);
    first.end();
    await second.started;
    expect([one, two].map(({ entry }) => entry.standing)).toEqual([taken, undefined]);
    second.end();
    await two.done;
    expect(two.entry.standing).toEqual(taken);
  });

  test("run one after another on 2026.8, and a message is taken when OpenClaw has it", async () => {
    const lanes = new Lanes();
    const [first, second, command] = [begin(), begin(), begin()];
    const one = start(between.host, lanes, first.turn);
    const two = start(between.host, lanes, second.turn);
    const three = start(between.host, lanes, command.turn, true);
    await Promise.all([first.started, command.started]);
    expect([one, two, three].map(({ entry }) => entry.standing)).toEqual([taken, undefined, taken]);
    first.end();
    await second.started;
    expect(two.entry.standing).toEqual(taken);
    for (const { end } of [second, command]) end();
    await Promise.all([one.done, two.done, three.done]);
  });

  test("begin on 2026.8 when OpenClaw has gone on with what a crash cut off", async () => {
    const [early, elsewhere] = [begin(), begin()];
    const lanes = new Lanes(50);
    for (let account = 0; account < 2; account += 1) lanes.begin();
    const one = start(between.host, lanes, early.turn, true);
    const two = start(newer.host, lanes, elsewhere.turn);
    await elsewhere.started;
    expect(one.entry.standing).toBeUndefined();
    await early.started;
    for (const { end } of [early, elsewhere]) end();
    await Promise.all([one.done, two.done]);
  });

  test("a command overtakes them there alone", () => {
    expect([older, between, newer].map(({ host }) => commandsOvertake(host))).toEqual([false, true, false]);
  });

  test("what failed is told at once, also on an older one", async () => {
    const failed = { kind: "failed", reason: "no" } as const;
    const { entry, done } = start(older.host, new Lanes(), async (own) => {
      own.note(failed);
      own.note(taken);
      expect(entry.standing).toEqual(failed);
    });
    await done;
    expect(entry.standing).toEqual(failed);
  });
});
