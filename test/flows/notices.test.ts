import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NOTICES, type NoticeKind } from "../../src/domain/notices.ts";
import { BridgeError } from "../../src/domain/errors.ts";
import { Notices, type NoticesOptions } from "../../src/flows/notices.ts";
import { controlLane, conversationLane } from "../../src/queue/store.ts";
import { conversation, entry, openStore } from "../queue/helpers.ts";
import { silent } from "../queue/runner.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

describe("who is told what, when", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date", "performance"] });
  });
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  interface Said {
    kind: NoticeKind;
    to: string;
    key: string;
  }

  /** `keys`: what the outbox has stored so far. */
  function make({ keys = new Set<string>(), ...options }: Partial<NoticesOptions> & { keys?: Set<string> } = {}) {
    const store = options.store ?? openStore();
    const said: Said[] = [];
    const state = { away: true, held: new Set<string>(), fails: undefined as BridgeError | undefined };
    const notices = new Notices({
      store,
      messages: {
        accept: ({ to, content }, { idempotencyKey = "" }) => {
          if (state.fails) return Promise.reject(state.fails);
          const text = "text" in content ? content.text : undefined;
          const kind = Object.entries(NOTICES).find(([, { en }]) => en === text)?.[0] as NoticeKind;
          if (!keys.has(idempotencyKey)) said.push({ kind, to, key: idempotencyKey });
          keys.add(idempotencyKey);
          return Promise.resolve({ id: "x", duplicate: false, status: "queued" as const });
        },
      },
      language: "en",
      enabled: {
        away: true,
        waiting: true,
        givenUp: true,
        quotaUsedUp: true,
        personLimit: true,
        fileRefused: true,
        interrupted: true,
      },
      awayAfterMs: MINUTE,
      gatewayAway: () => state.away,
      isHeld: (lane) => state.held.has(lane),
      affordable: () => true,
      clock: { now: () => Date.now(), monotonic: () => performance.now() },
      logger: silent,
      ...options,
    });
    return { store, notices, said, state };
  }

  const lane = (id: string): string => conversationLane("main", id);
  async function writes(store: ReturnType<typeof openStore>, id: string, name = id): Promise<number> {
    const one = entry(name, { lane: lane(id), createdAt: Date.now() });
    return (await store.append(one, conversation({ id, kind: "group" }))).seq;
  }
  const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

  it("away: every conversation once in an outage, over a restart too, and once more in the next", async () => {
    const store = openStore();
    const keys = new Set<string>();
    const { notices, said, state } = make({ store, keys });
    const first = await writes(store, "a");
    await writes(store, "b");
    await notices.start();
    await pass(59 * SECOND);
    expect(said).toEqual([]);
    await pass(6 * SECOND);
    expect(said.map(({ kind, to }) => `${kind} ${to}`)).toEqual(["away conversation:a", "away conversation:b"]);
    const again = make({ store, keys });
    await again.notices.start();
    await pass(10 * SECOND);
    await again.notices.stop();
    expect(again.said).toEqual([]);
    // The message that was first is gone, another came: the same outage.
    await store.settle(first, { state: "cancelled", at: 1 });
    const second = await writes(store, "a", "a2");
    await pass(3 * MINUTE);
    // A moment of life is no end of it.
    state.away = false;
    await pass(10 * SECOND);
    state.away = true;
    await pass(3 * MINUTE);
    expect(said).toHaveLength(2);
    state.away = false;
    await store.settle(second, { state: "delivered", at: 1 });
    await pass(2 * MINUTE);
    state.away = true;
    await writes(store, "a", "a3");
    await pass(2 * MINUTE);
    await notices.stop();
    expect(said.slice(2).map(({ kind, to }) => `${kind} ${to}`)).toEqual([
      "away conversation:b",
      "away conversation:a",
    ]);
  });

  it("away: a thousand conversations are all told, and each look costs no more than some", async () => {
    const { store, notices, said } = make();
    for (let n = 0; n < 1_200; n += 1) await writes(store as ReturnType<typeof openStore>, `c${n}`);
    await pass(2 * MINUTE);
    await notices.start();
    const looks = [500, 1_000, 1_200, 1_200];
    for (const count of looks) {
      await pass(5 * SECOND);
      expect(new Set(said.map(({ to }) => to)).size).toBe(count);
    }
    await notices.stop();
    expect(said).toHaveLength(1_200);
  });

  it("waiting: once for as long as something of the conversation waits, whichever message that is", async () => {
    const store = openStore();
    const { notices, said, state } = make({ store });
    state.away = false;
    const seqs = [await writes(store, "a", "a1"), await writes(store, "a", "a2")];
    await writes(store, "busy elsewhere");
    await notices.start();
    await pass(2 * MINUTE);
    expect(said).toEqual([]);
    state.held.add(lane("a"));
    await pass(MINUTE);
    await store.settle(seqs[0] ?? 0, { state: "delivered", at: 1 });
    await writes(store, "a", "a3");
    await pass(MINUTE);
    expect(said.map(({ kind, to }) => `${kind} ${to}`)).toEqual(["waiting conversation:a"]);
    for (const name of ["a2", "a3"]) {
      const one = store.find("inbox", `main:${name}`);
      await store.settle(one?.seq ?? 0, { state: "delivered", at: 1 });
    }
    await pass(10 * SECOND);
    await writes(store, "a", "a4");
    await pass(2 * MINUTE);
    await notices.stop();
    expect(said.map(({ kind }) => kind)).toEqual(["waiting", "waiting"]);
  });

  it("says nothing about stop words, switched off kinds, unknown conversations, or when it cannot be afforded", async () => {
    const store = openStore();
    await store.append(entry("stop", { lane: controlLane(lane("a")), createdAt: 1 }), conversation({ id: "a" }));
    await store.append(entry("stranger", { lane: lane("nobody"), createdAt: 1 }));
    const control = make({ store });
    await writes(store, "b");
    await pass(2 * MINUTE);
    const off = make({ store, enabled: { ...everything(false), waiting: true } });
    const poor = make({ store, affordable: () => false });
    for (const { notices } of [control, off, poor]) await notices.start();
    await pass(10 * SECOND);
    for (const { notices } of [control, off, poor]) await notices.stop();
    expect(control.said.map(({ to }) => to)).toEqual(["conversation:b"]);
    expect([off.said, poor.said]).toEqual([[], []]);
  });

  it("a reply given up: once per reply, not where nothing can arrive, and never about a notice", async () => {
    const store = openStore();
    await store.append(entry("in"), conversation({ id: "cidA", kind: "direct", staffId: "staff001" }));
    const { notices, said } = make({ store });
    const reply = async (name: string, fields: object = {}): Promise<void> => {
      const body = { to: "user:staff001", inReplyTo: "main:x" };
      const { seq } = await store.append(entry(name, { queue: "outbox", body, ...fields }));
      expect(seq).toBeGreaterThan(0);
    };
    await reply("r1");
    await reply("notice", { key: "main\nnotice:away:cidA:x" });
    await reply("unasked", { body: { to: "user:staff001" } });
    await reply("person", { lane: "main\nuser:staff001" });
    const dead = (name: string, code: string): void => {
      const one = store.find("outbox", `main:${name}`);
      if (one) notices.givenUp(one, code);
    };
    for (const code of ["no_route", "recipient_unknown", "quota_exhausted", "too_old"]) dead("r1", code);
    dead("notice", "dingtalk_rejected");
    dead("unasked", "dingtalk_rejected");
    await notices.stop();
    expect(said).toEqual([]);
    dead("r1", "attempts_exhausted");
    dead("r1", "attempts_exhausted");
    dead("person", "message_too_long");
    await notices.stop();
    expect(said.map(({ kind, to }) => `${kind} ${to}`)).toEqual(["givenUp user:staff001", "givenUp user:staff001"]);
  });

  it("a file refused: its caption or a line that names it, once, without being asked, where it can arrive", async () => {
    const store = openStore();
    const webhook = { url: "https://w", expiresAt: Date.now() + MINUTE };
    await store.append(entry("in"), conversation({ id: "cidA", kind: "direct", staffId: undefined, webhook }));
    await store.append(
      entry("in2"),
      conversation({ id: "cidB", kind: "direct", staffId: undefined, webhook: undefined }),
    );
    const accepted: object[] = [];
    const accept: NoticesOptions["messages"]["accept"] = (message) => {
      accepted.push(message);
      return Promise.resolve({ id: "x", duplicate: false, status: "queued" });
    };
    const { notices } = make({ store, messages: { accept } });
    const quiet = make({ store, enabled: everything(false), messages: { accept } });
    const url = "https://files.example/a/%E8%A1%A8.xlsx?token=s3cret";
    const file = async (name: string, conversationId: string, parts: object[]): Promise<string> => {
      const body = { to: `conversation:${conversationId}`, mentions: { userIds: ["staff002"] } };
      await store.append(entry(name, { queue: "outbox", kind: "file", lane: lane(conversationId), body, parts }));
      return `main:${name}`;
    };
    const dead = (id: string, code: string, by = notices): void => {
      const one = store.find("outbox", id);
      if (one) by.givenUp(one, code);
    };
    const bare = await file("bare", "cidA", [{ type: "file", media: { url } }]);
    for (const code of ["recipient_unknown", "too_old", "account_unknown"]) dead(bare, code);
    dead(bare, "no_route", quiet.notices);
    const roadless = await file("roadless", "cidB", [{ type: "file", media: { url }, fileName: "b.txt" }]);
    dead(roadless, "no_route");
    await notices.stop();
    expect(accepted).toEqual([]);
    dead(bare, "no_route");
    dead(bare, "media_url_refused");
    const caption = [1, 2].map((n) => ({ type: "markdown", title: "t", text: `Teil ${n}` }));
    const captioned = await file("captioned", "cidA", [{ type: "image", media: { url } }, ...caption]);
    // The words are the gateway's, not the bridge's own: they cannot be switched off.
    dead(captioned, "attempts_exhausted", quiet.notices);
    const said = await file("said", "cidA", [{ type: "image", media: { url } }, ...caption.slice(1)]);
    await store.deliverPart(store.find("outbox", said)?.seq ?? 0, 1, { route: "webhook", at: 1 });
    dead(said, "media_url_refused");
    await notices.stop();
    await quiet.notices.stop();
    const to = "conversation:cidA";
    expect(accepted).toEqual([
      { account: "main", to, content: { type: "text", text: `${NOTICES.fileRefused.en}\n表.xlsx` } },
      {
        account: "main",
        to,
        content: { type: "markdown", text: "Teil 1\n\nTeil 2" },
        mentions: { userIds: ["staff002"] },
      },
    ]);
  });

  it("harms nothing when it cannot be stored, or when the store fails", async () => {
    const store = openStore();
    const { notices, state, said } = make({ store });
    state.fails = new BridgeError("idempotency_key_reused", "said in another language before");
    await writes(store, "a");
    await pass(2 * MINUTE);
    await notices.start();
    await pass(5 * SECOND);
    vi.spyOn(store, "waitingSince").mockImplementation(() => {
      throw new Error("disk I/O error");
    });
    await pass(10 * SECOND);
    await notices.stop();
    expect(said).toEqual([]);
  });
});

const everything = (on: boolean): NoticesOptions["enabled"] => ({
  away: on,
  waiting: on,
  givenUp: on,
  quotaUsedUp: on,
  personLimit: on,
  fileRefused: on,
  interrupted: on,
});

describe("in the bridge", () => {
  let bridge: TestBridge;
  afterEach(() => bridge.close());

  const AWAY_AFTER = { BRIDGE_NOTICES_AWAY_AFTER: "1s" };
  const sent = (): string[] => bridge.dingtalk.sent.map(({ text }) => text);
  async function say(text: string, from = "staff001"): Promise<void> {
    await (await bridge.dingtalk.say({ text, from })).acked();
  }

  it.each(["zh-CN", "en"] as const)(
    "says that the assistant is away, once, over a restart too (%s)",
    async (language) => {
      bridge = await startBridge({
        gateway: { mode: { kind: "answer", status: 404 } },
        env: { ...AWAY_AFTER, BRIDGE_LANGUAGE: language },
      });
      await say("hallo");
      await expect.poll(sent, { timeout: 10_000 }).toEqual([NOTICES.away[language]]);
      await say("hallo?");
      await bridge.restart();
      await say("fremd", "staff002");
      await expect.poll(sent, { timeout: 10_000 }).toHaveLength(2);
      bridge.gateway.mode = { kind: "echo" };
      await expect.poll(sent, { timeout: 10_000 }).toHaveLength(5);
      expect(sent().filter((text) => text === NOTICES.away[language])).toHaveLength(2);
      const told = bridge.dingtalk.sent.slice(0, 2).map(({ conversationId }) => conversationId);
      expect(new Set(told).size).toBe(2);
      expect(sent().filter((text) => text.startsWith("收到"))).toHaveLength(3);
    },
  );

  it("says that a message waits behind other work, in the conversation's order, unless switched off", async () => {
    for (const on of ["true", "false"]) {
      bridge = await startBridge({
        gateway: { mode: { kind: "held", times: 3, retryAfterS: 1 } },
        env: { ...AWAY_AFTER, BRIDGE_NOTICES_WAITING: on },
      });
      await say("hallo");
      await expect.poll(sent, { timeout: 10_000 }).toContain("收到:hallo");
      expect(sent()).toEqual(on === "true" ? [NOTICES.waiting["zh-CN"], "收到:hallo"] : ["收到:hallo"]);
      if (on === "true") await bridge.close();
    }
  });

  it("says that a reply was given up, after what was sent before, and nothing about the line itself", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
    await say("hallo");
    const reply = (text: string, to = "user:staff001"): Promise<Response> =>
      bridge.api("POST", "/v1/messages", { to, inReplyTo: "main:x", content: { type: "text", text } });
    bridge.dingtalk.faults.api("sendBySession", {
      kind: "answer",
      body: { errcode: 400_102, errmsg: "?" },
      skip: 1,
      count: 1,
    });
    bridge.dingtalk.faults.api("oToMessages/batchSend", { kind: "error", error: "notFound", count: 20 });
    await reply("eins");
    await reply("zwei");
    await expect.poll(sent, { timeout: 15_000 }).toEqual(["eins", NOTICES.givenUp["zh-CN"]]);
    const dead = async (): Promise<number> =>
      ((await (await bridge.api("GET", "/v1/dead-letters")).json()) as { deadLetters: [] }).deadLetters.length;
    expect(await dead()).toBe(1);
    bridge.dingtalk.faults.api("sendBySession", { kind: "answer", body: { errcode: 400_102, errmsg: "?" }, count: 2 });
    await reply("drei");
    await expect.poll(dead).toBe(3);
    await reply("vier");
    await expect.poll(sent).toEqual(["eins", NOTICES.givenUp["zh-CN"], "vier"]);
  });

  it("says once a day that the month's quota is used up, by the road that is left, and nothing when none is", async () => {
    bridge = await startBridge({ gateway: { mode: { kind: "silent" } } });
    await say("noch da");
    bridge.dingtalk.faults.exhaust("units");
    await say("zu viel");
    await say("noch mehr");
    await expect.poll(sent).toEqual([NOTICES.quotaUsedUp["zh-CN"]]);
    expect(bridge.dingtalk.sent).toMatchObject([{ route: "oto", userIds: ["staff001"] }]);
    bridge.dingtalk.faults.exhaust("calls");
    const answer = await bridge.api(
      "POST",
      "/v1/messages",
      { to: "user:staff001", content: { type: "text", text: "x" } },
      { prefer: "wait=5" },
    );
    expect(await answer.json()).toMatchObject({ status: "dead" });
    const before = bridge.dingtalk.requests.length;
    await say("jetzt", "staff002");
    const status = (await (await bridge.api("GET", "/v1/status")).json()) as { queues: { outbox: { open: number } } };
    expect([sent().length, bridge.dingtalk.requests.length, status.queues.outbox.open]).toEqual([1, before, 0]);
  });
});
