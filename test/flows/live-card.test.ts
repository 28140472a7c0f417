import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Outcome } from "../../src/domain/outcome.ts";
import type { Ladder } from "../../src/domain/quota.ts";
import type { AccountSender } from "../../src/flows/account.ts";
import { CardCalls } from "../../src/flows/card-calls.ts";
import { CardContext } from "../../src/flows/card-context.ts";
import { CardProblems } from "../../src/flows/card-problems.ts";
import { Pacing } from "../../src/flows/pacing.ts";
import type { ReplySettings } from "../../src/flows/stream-settings.ts";
import { type StreamsOptions, Streams } from "../../src/flows/streams.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { Gate } from "../../src/queue/gate.ts";
import { WindowLimiter } from "../../src/queue/limiter.ts";
import { SqliteStore } from "../../src/queue/sqlite-store.ts";
import { type NewEntry, cardLane, conversationLane } from "../../src/queue/store.ts";
import { capturedLogger } from "../support/dingtalk-http.ts";

const SETTINGS: ReplySettings = {
  format: "auto",
  direct: "inherit",
  group: "inherit",
  cardTemplateId: "auto",
  cardTemplateKey: "auto",
  cardCharacters: 3_000,
  cardUpdates: 0,
  cardIntervalMs: 1_000,
  cardMaxIntervalMs: 8_000,
  idleTimeoutMs: 600_000,
  indicator: "off",
  indicatorAfterMs: 4_000,
  indicatorText: "…",
};
const SCOPE = { account: undefined };
const DONE: Outcome = { kind: "delivered" };

interface Call {
  api: "create" | "update" | "finish";
  at: number;
  content: string;
}

/** The flow with the real store, limiter and gate; DingTalk and the timers are the test's. */
class Rig {
  readonly directory = mkdtempSync(join(tmpdir(), "live-card-"));
  readonly metrics = createMetrics();
  readonly store = new SqliteStore({ directory: this.directory, metrics: this.metrics });
  readonly calls: Call[] = [];
  answer: () => Outcome | Promise<Outcome> = () => DONE;
  ladder: Ladder = 0;
  spent = 0;
  now = 0;
  settings = SETTINGS;
  readonly clock = { now: () => 1_800_000_000_000 + this.now, monotonic: () => this.now };
  readonly #logger = capturedLogger().logger;
  readonly gate = new Gate({
    name: "card",
    failures: 5,
    cooldown: { baseMs: 1_000, capMs: 1_000 },
    logger: this.#logger,
  });
  readonly limiter = new WindowLimiter({ cap: 15, windowMs: 1_000 });
  readonly pacing = new Pacing({ perSecond: 5, groupPerMinute: 20, now: () => this.now });
  readonly streams: Streams;

  constructor(plan: "standard" | "professional" = "standard") {
    const call = async (api: Call["api"], content: string): Promise<Outcome> => {
      this.calls.push({ api, at: this.now, content });
      return this.answer();
    };
    const sender = {
      createCard: ({ params }) => call("create", params["msgContent"] ?? ""),
      streamCard: ({ content, isFinalize }) => call(isFinalize ? "finish" : "update", content),
      limiter: { card: this.limiter },
      gates: { card: this.gate },
    } as Pick<AccountSender, "createCard" | "streamCard" | "limiter" | "gates"> as AccountSender;
    const { store, clock, metrics } = this;
    const logger = this.#logger;
    const problems = new CardProblems({ clock, logger });
    const shared = { store, clock, logger, sender: () => sender };
    const context = new CardContext({
      ...shared,
      calls: new CardCalls({ ...shared, problems, metrics }),
      problems,
      pacing: this.pacing,
      quota: { ladder: () => this.ladder },
      settings: () => this.settings,
      plan,
      label: () => undefined,
      seeNext: "next",
      onAppended: () => undefined,
      onVisible: () => undefined,
      spent: () => this.spent,
      metrics,
    });
    this.streams = new Streams({
      ...shared,
      metrics,
      context,
      messages: { accept: () => Promise.reject(new Error("not here")) } satisfies StreamsOptions["messages"],
      accounts: () => ["main"],
      filesIn: () => [],
      hurry: () => undefined,
      interrupted: "(left)",
      refusal: () => undefined,
    });
  }

  /** Lets time pass in small steps, everything that is due at each done. */
  async pass(ms: number): Promise<void> {
    for (const end = this.now + ms; this.now < end;) {
      const step = Math.min(50, end - this.now);
      this.now += step;
      vi.advanceTimersByTime(step);
      await this.turn();
    }
  }

  /** Lets what was begun go as far as it can. */
  async turn(): Promise<void> {
    for (let n = 0; n < 8; n++) await new Promise((resolve) => setImmediate(resolve));
  }

  of(api: Call["api"]): Call[] {
    return this.calls.filter((call) => call.api === api);
  }

  async close(): Promise<void> {
    await this.streams.stop({ signal: AbortSignal.timeout(1_000) });
    this.limiter.close();
    this.gate.close();
    this.pacing.close();
    await this.store.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

let rig: Rig;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  rig = new Rig();
});
afterEach(async () => {
  vi.useRealTimers();
  await rig.close();
});

async function stream(request: object = {}): Promise<string> {
  const { id } = await rig.streams.open({ to: "user:staff001", inReplyTo: "main:m1", ...request }, SCOPE);
  return id;
}

/** Says something new every second. */
async function talk(id: string, seconds: number): Promise<void> {
  for (let n = 0; n < seconds; n++) {
    rig.streams.put(id, { seq: rig.now, text: `text ${rig.now}` }, SCOPE);
    await rig.pass(1_000);
  }
}

const seconds = (calls: Call[]): number[] => {
  const created = rig.of("create")[0]?.at ?? 0;
  return calls.map(({ at }) => Math.round((at - created) / 100) / 10);
};

describe("what a reply costs", () => {
  it("is seven calls and its end on the standard plan, however long it takes", { timeout: 30_000 }, async () => {
    const id = await stream();
    await talk(id, 300);
    expect(rig.of("create")).toHaveLength(1);
    const moments = seconds(rig.of("update"));
    expect(moments).toHaveLength(6);
    for (const [index, moment] of [1, 2.5, 5, 12, 30, 90].entries()) {
      expect(moments[index]).toBeGreaterThanOrEqual(moment);
      expect(moments[index]).toBeLessThan(moment + 1.2);
    }
  });

  it("is less by what the indicator cost, and half the updates when calls run ahead", { timeout: 30_000 }, async () => {
    rig.spent = 2;
    await talk(await stream(), 100);
    expect(rig.of("update")).toHaveLength(4);
    rig.spent = 0;
    rig.ladder = 1;
    rig.calls.length = 0;
    await talk(await stream(), 100);
    expect(rig.of("update")).toHaveLength(3);
  });

  it("grows slowly on larger plans", async () => {
    await rig.close();
    rig = new Rig("professional");
    await talk(await stream(), 60);
    expect(rig.of("update").length).toBeGreaterThan(7);
    expect(rig.of("update").length).toBeLessThan(14);
  });

  it.each<[string, Partial<ReplySettings>, number, number]>([
    ["a longer first interval", { cardIntervalMs: 20_000, cardMaxIntervalMs: 20_000 }, 3, 3],
    ["a shorter longest interval", { cardMaxIntervalMs: 2_000 }, 25, 35],
    ["a number of updates", { cardUpdates: 2 }, 2, 2],
  ])("follows the settings: %s", async (_, settings, least, most) => {
    await rig.close();
    rig = new Rig("professional");
    rig.settings = { ...SETTINGS, ...settings };
    await talk(await stream(), 62);
    expect(rig.of("update").length).toBeGreaterThanOrEqual(least);
    expect(rig.of("update").length).toBeLessThanOrEqual(most);
  });

  it("is nothing while nothing is new, but for the update that makes the client show the text", async () => {
    const id = await stream();
    rig.streams.put(id, { seq: 0, text: "the same" }, SCOPE);
    for (let n = 0; n < 20; n++) {
      await rig.pass(1_000);
      rig.streams.put(id, { seq: n, text: "the same" }, SCOPE);
    }
    expect(rig.calls.map(({ api }) => api)).toEqual(["create", "update"]);
  });
});

describe("whether there is a card", () => {
  it.each<[string, object, Partial<ReplySettings>, Ladder, string]>([
    ["auto", {}, {}, 0, "card"],
    ["auto, calls running ahead a little", {}, {}, 1, "card"],
    ["auto, calls running ahead", {}, {}, 2, "buffered"],
    ["card, calls running ahead", { format: "card" }, {}, 3, "card"],
    ["card as a setting", {}, { format: "card" }, 3, "card"],
    ["markdown", { format: "markdown" }, {}, 0, "buffered"],
    ["text in direct conversations", {}, { direct: "text" }, 0, "buffered"],
    ["text in groups, this one is direct", {}, { group: "text" }, 0, "card"],
    ["text in groups, this one is one", { to: "conversation:cid1" }, { group: "text" }, 0, "buffered"],
    ["no template", {}, { cardTemplateId: "off" }, 0, "buffered"],
  ])("%s", async (_, request, settings, ladder, mode) => {
    rig.settings = { ...SETTINGS, ...settings };
    rig.ladder = ladder;
    expect(await rig.streams.open({ to: "user:staff001", ...request }, SCOPE)).toMatchObject({ mode });
  });

  it("takes the key of its template", async () => {
    for (const [cardTemplateId, cardTemplateKey, id, key] of [
      ["auto", "auto", "02fcf2f4-5e02-4a85-b672-46d1f715543e.schema", "msgContent"],
      ["own.schema", "auto", "own.schema", "content"],
      ["own.schema", "mine", "own.schema", "mine"],
    ] as const) {
      rig.settings = { ...SETTINGS, cardTemplateId, cardTemplateKey };
      const stored = rig.store.streams.find(await stream());
      expect(stored).toMatchObject({ templateId: id, templateKey: key });
    }
  });

  it("is decided again when it would be created", async () => {
    const id = await stream();
    rig.ladder = 2;
    rig.streams.put(id, { seq: 0, text: "one" }, SCOPE);
    await rig.pass(2_000);
    expect(rig.calls).toEqual([]);
    await rig.streams.finish(id, { text: "one two", outcome: "done" }, SCOPE);
    expect(rig.store.heads("outbox").map(({ lane }) => lane)).toEqual(["main\nuser:staff001"]);
  });

  it("waits for the messages before it, and for the conversation's limit", async () => {
    const lane = conversationLane("main", "cid1");
    const entry: NewEntry = {
      queue: "outbox",
      id: "out_1",
      key: "out_1",
      account: "main",
      lane,
      kind: "text",
      body: { to: "conversation:cid1" },
      createdAt: 0,
      parts: [{ type: "text", text: "before" }],
    };
    const { seq } = await rig.store.append(entry);
    const id = await stream({ to: "conversation:cid1" });
    rig.streams.put(id, { seq: 0, text: "one" }, SCOPE);
    await rig.pass(1_000);
    expect(rig.calls).toEqual([]);
    for (let n = 0; n < 20; n++) rig.pacing.answered(lane);
    const head = await rig.store.begin(seq);
    await rig.store.settle(seq, { state: "delivered", at: 1 });
    if (head) rig.streams.outboxSettled(head);
    await rig.pass(30_000);
    expect(rig.calls).toEqual([]);
    await rig.pass(31_000);
    expect(rig.of("create")).toHaveLength(1);
  });
});

describe("while cards do not work", () => {
  const away: Outcome = { kind: "retry", code: "dingtalk_unreachable", class: "peer-away" };

  it("replies wait for their messages; when they work again there are cards again", async () => {
    rig.answer = () => away;
    const ids: string[] = [];
    for (let n = 0; n < 5; n++) {
      const id = await stream({ to: `user:staff${n}` });
      ids.push(id);
      rig.streams.put(id, { seq: 0, text: "one" }, SCOPE);
      await rig.pass(50);
    }
    expect(rig.gate.shutSince).toBeDefined();
    expect(await rig.streams.open({ to: "user:staff9" }, SCOPE)).toMatchObject({ mode: "buffered" });
    for (const id of ids) await rig.streams.finish(id, { text: "one two", outcome: "done" }, SCOPE);
    expect(rig.store.heads("outbox").map(({ lane }) => lane)).toHaveLength(5);
    const before = rig.calls.length;
    rig.answer = () => DONE;
    await rig.pass(3_000);
    expect(rig.calls.length).toBe(before);
    const id = await stream({ to: "user:staff10" });
    rig.streams.put(id, { seq: 0, text: "one" }, SCOPE);
    await rig.pass(1_000);
    expect(rig.gate.shutSince).toBeUndefined();
    expect(rig.store.streams.find(id)?.card).toBe("shown");
  });
});

describe("a card that is being created", () => {
  it("keeps the conversation's messages back, from the first moment to the answer", async () => {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    rig.answer = () => promise;
    const id = await stream();
    const lane = rig.store.streams.find(id)?.lane ?? "";
    expect(rig.streams.creating(lane)).toBeUndefined();
    rig.streams.put(id, { seq: 0, text: "one" }, SCOPE);
    const woken = vi.fn<() => void>();
    expect(rig.streams.admission(lane)?.enter(woken)).toBe(false);
    expect(rig.streams.admission(cardLane("main", "br_1"))).toBe(rig.gate);
    await rig.turn();
    expect(rig.store.streams.find(id)?.card).toBe("creating");
    expect(woken).not.toHaveBeenCalled();
    resolve(DONE);
    await rig.turn();
    expect(woken).toHaveBeenCalledOnce();
    expect(rig.streams.admission(lane)).toBeUndefined();
    expect(rig.store.streams.find(id)?.card).toBe("shown");
  });

  it("is on disk before DingTalk is asked", async () => {
    const id = await stream();
    let stored: string | undefined;
    rig.answer = () => {
      stored = rig.store.streams.find(id)?.card;
      return DONE;
    };
    rig.streams.put(id, { seq: 0, text: "one" }, SCOPE);
    await rig.turn();
    expect(stored).toBe("creating");
  });
});

describe("a card that is shown", () => {
  it("has one update under way, whatever is said meanwhile; the next says the newest", async () => {
    const id = await stream();
    await talk(id, 1);
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    rig.answer = () => promise;
    await talk(id, 20);
    expect(rig.of("update")).toHaveLength(1);
    resolve(DONE);
    rig.streams.put(id, { seq: rig.now, text: "the newest" }, SCOPE);
    await rig.pass(1_100);
    expect(
      rig
        .of("update")
        .map(({ content }) => content)
        .slice(1),
    ).toEqual(["the newest"]);
    expect(rig.of("create")).toHaveLength(1);
  });

  it("and full when its reply ends with something else: that is sent as a whole", async () => {
    rig.settings = { ...SETTINGS, cardCharacters: 200 };
    const id = await stream();
    await talk(id, 1);
    const old = "old text. ".repeat(50);
    const other = "other text. ".repeat(50).trim();
    rig.streams.put(id, { seq: rig.now, text: old }, SCOPE);
    const { id: message } = await rig.streams.finish(id, { text: other, outcome: "done" }, SCOPE);
    const { seq } = rig.store.find("outbox", message) ?? {};
    const sent = rig.store.parts(seq ?? 0).map(({ body }) => (body as { text: string }).text);
    expect(sent.join(" ")).toBe(other);
    const [finish] = rig.store.heads("outbox").filter(({ lane }) => lane.includes("card:"));
    expect((await rig.store.begin(finish?.seq ?? 0))?.body).toMatchObject({
      text: expect.stringContaining("old text"),
    });
  });
});

describe("while the limit of all cards is used up", () => {
  /** Takes every slot; the result frees one. */
  const busy = (): (() => void)[] =>
    Array.from({ length: 15 }, () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      void rig.limiter.run(() => promise);
      return resolve;
    });

  it("an end does not wait for updates, its own card's neither", async () => {
    const first = await stream();
    const other = await stream({ to: "user:staff002" });
    for (const id of [first, other]) rig.streams.put(id, { seq: 0, text: "one" }, SCOPE);
    await rig.pass(900);
    expect(rig.of("create")).toHaveLength(2);
    rig.limiter.close();
    const slots = busy();
    await rig.pass(1_000);
    await rig.streams.finish(first, { text: "one two", outcome: "done" }, SCOPE);
    const [head] = rig.store.heads("outbox");
    const entry = await rig.store.begin(head?.seq ?? 0);
    const ended = entry && rig.streams.deliver(entry, new AbortController().signal);
    await rig.turn();
    expect(rig.calls).toHaveLength(2);
    slots[0]?.();
    await rig.pass(50);
    expect(rig.calls.slice(2).map(({ api, content }) => [api, content])[0]).toEqual(["finish", "one two"]);
    expect(await ended).toEqual(DONE);
    for (const free of slots) free();
    await rig.pass(50);
  });

  it("a reply that ends before its card was asked for keeps nobody waiting for it", async () => {
    rig.limiter.close();
    const slots = busy();
    const id = await stream();
    const lane = rig.store.streams.find(id)?.lane ?? "";
    rig.streams.put(id, { seq: 0, text: "one" }, SCOPE);
    await rig.pass(100);
    expect(rig.streams.creating(lane)).toBeDefined();
    await rig.streams.finish(id, { text: "one two", outcome: "done" }, SCOPE);
    await rig.turn();
    expect(rig.streams.creating(lane)).toBeUndefined();
    expect(rig.store.heads("outbox").map((head) => head.lane)).toEqual([lane]);
    for (const free of slots) free();
    await rig.pass(50);
    expect(rig.calls).toEqual([]);
    expect(rig.store.streams.find(id)).toMatchObject({ state: "closed", card: "none" });
  });
});

describe("a silence", () => {
  it("ends a reply after its idle time, not before; every word counts, also an old one", async () => {
    const id = await stream({ idleTimeoutMs: 60_000 });
    rig.streams.put(id, { seq: 9, text: "one" }, SCOPE);
    for (let n = 0; n < 5; n++) {
      await rig.pass(50_000);
      rig.streams.put(id, { seq: 0, text: "" }, SCOPE);
    }
    await rig.pass(59_000);
    expect(rig.store.streams.find(id)?.state).toBe("open");
    await rig.pass(2_000);
    expect(rig.store.streams.find(id)).toMatchObject({ state: "closed", finishedBy: "idle", text: "one" });
    const [head] = rig.store.heads("outbox");
    expect((await rig.store.begin(head?.seq ?? 0))?.body).toMatchObject({ text: "one\n\n(left)", outcome: "aborted" });
  });

  it("is no longer than the bridge allows", async () => {
    rig.settings = { ...SETTINGS, idleTimeoutMs: 5_000 };
    const id = await stream({ idleTimeoutMs: 600_000 });
    expect(rig.store.streams.find(id)?.idleMs).toBe(5_000);
  });
});

describe("a text in memory", () => {
  it("is never overwritten on disk by an older one", async () => {
    const id = await stream();
    await talk(id, 1);
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    rig.answer = () => promise;
    rig.streams.put(id, { seq: rig.now, text: "older" }, SCOPE);
    await rig.pass(6_000);
    expect(rig.of("update").at(-1)?.content).toBe("older");
    rig.streams.put(id, { seq: rig.now, text: "newer" }, SCOPE);
    await rig.turn();
    expect(rig.store.streams.find(id)?.text).toBe("newer");
    resolve(DONE);
    await rig.turn();
    expect(rig.store.streams.find(id)?.text).toBe("newer");
  });

  it("is written now and then, and at a stop", async () => {
    const id = await stream({ format: "markdown" });
    rig.streams.put(id, { seq: 1, text: "one" }, SCOPE);
    await rig.turn();
    expect(rig.store.streams.find(id)?.text).toBe("");
    await rig.pass(5_000);
    rig.streams.put(id, { seq: 2, text: "two" }, SCOPE);
    await rig.turn();
    expect(rig.store.streams.find(id)).toMatchObject({ text: "two", seq: 2 });
    rig.streams.put(id, { seq: 3, text: "three" }, SCOPE);
    await rig.streams.stop({ signal: new AbortController().signal });
    expect(rig.store.streams.find(id)).toMatchObject({ text: "three", seq: 3, state: "open" });
    expect(() => rig.streams.put(id, { seq: 4, text: "four" }, SCOPE)).toThrow(
      expect.objectContaining({ code: "stopping" }),
    );
    await rig.streams.start();
    rig.streams.put(id, { seq: 5, text: "five" }, SCOPE);
    expect(rig.streams.size).toBe(1);
  });

  it("is nobody else's", async () => {
    const id = await stream();
    const other = { account: "other" };
    const unknown = expect.objectContaining({ code: "stream_unknown" });
    expect(() => rig.streams.put(id, { seq: 0, text: "x" }, other)).toThrow(unknown);
    await expect(rig.streams.finish(id, { text: "x", outcome: "done" }, other)).rejects.toEqual(unknown);
  });
});
