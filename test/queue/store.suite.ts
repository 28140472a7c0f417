import { describe, expect, it } from "vitest";
import type { Receipt } from "../../src/domain/outcome.ts";
import { type QueueStore, conversationLane, userLane } from "../../src/queue/store.ts";
import { conversation, entry } from "./helpers.ts";

export interface StoreUnderTest {
  store: QueueStore;
  /** What a new process finds after this one died without a word. */
  crash: () => QueueStore;
}

const LANE = conversationLane("main", "cidA");
const failed = { code: "gateway_timeout", detail: "no answer" } as const;
const receipt = (at: number): Receipt => ({ route: "open-api", processQueryKey: `q${at}`, at });
const dead = (at: number) => ({ state: "dead", at, error: failed }) as const;

/** What every QueueStore must do. */
export function storeSuite(name: string, open: () => StoreUnderTest): void {
  describe(`${name}: append`, () => {
    it("keeps every field as given", async () => {
      const { store } = open();
      const given = entry("a", {
        digest: "d1",
        kind: "card.action",
        body: { text: "你好 👋\u0000\ud800", n: [1, null] },
      });
      const appended = await store.append(given);
      expect(appended).toEqual({ seq: appended.seq, id: "main:a", lane: LANE, duplicate: false, digest: "d1" });
      expect(store.find("inbox", "main:a")).toEqual({
        ...given,
        seq: appended.seq,
        state: "open",
        begun: false,
        attempts: 0,
        crashes: 0,
        dueAt: 0,
        uncertain: false,
        settledAt: undefined,
        receipt: undefined,
        error: undefined,
      });
    });

    it("answers a repeated key with the first entry and its digest, and writes nothing", async () => {
      const { store } = open();
      const first = await store.append(entry("a", { digest: "d1" }));
      const again = await store.append(entry("b", { key: "key:a", digest: "d2", lane: "main\ncidB" }), conversation());
      expect(again).toEqual({ seq: first.seq, id: "main:a", lane: LANE, duplicate: true, digest: "d1" });
      expect(store.find("inbox", "main:b")).toBeUndefined();
      expect(store.heads("inbox")).toHaveLength(1);
      expect(store.conversation("main", "cidA")).toBeUndefined();
    });

    it("knows a key after its entry was settled, and per queue", async () => {
      const { store } = open();
      const { seq } = await store.append(entry("a"));
      await store.settle(seq, { state: "delivered", at: 5 });
      expect(await store.append(entry("b", { key: "key:a" }))).toMatchObject({
        lane: LANE,
        duplicate: true,
        digest: undefined,
      });
      expect(await store.append(entry("a", { queue: "outbox" }))).toMatchObject({ duplicate: false });
    });

    it("tells keys and lanes apart by case", async () => {
      const { store } = open();
      await store.append(entry("a", { key: "KEY", lane: "main\ncidA" }));
      const other = await store.append(entry("b", { key: "key", lane: "main\ncida" }));
      expect(other.duplicate).toBe(false);
      expect(store.heads("inbox").map(({ lane }) => lane)).toEqual(["main\ncidA", "main\ncida"]);
    });

    it("refuses an id that another key has, and only that write", async () => {
      const { store } = open();
      await store.append(entry("a"));
      const results = await Promise.allSettled([
        store.append(entry("b")),
        store.append(entry("x", { id: "main:a" })),
        store.append(entry("c")),
      ]);
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect(results[1]).toMatchObject({ reason: { code: "internal" } });
      expect(store.counts("inbox").open).toBe(3);
    });

    it("commits a dead entry that is listed and never a head", async () => {
      const { store } = open();
      await store.append(entry("a", { dead: { code: "unreadable", detail: "no JSON" } }));
      expect(store.heads("inbox")).toEqual([]);
      expect(store.deadLetters({ limit: 10 })).toMatchObject([
        { id: "main:a", state: "dead", settledAt: 1_000, error: { code: "unreadable", detail: "no JSON" } },
      ]);
    });
  });

  describe(`${name}: attempts`, () => {
    it("begins an open entry, and no other", async () => {
      const { store } = open();
      const { seq } = await store.append(entry("a"));
      expect(await store.begin(seq)).toMatchObject({ id: "main:a", begun: true, attempts: 0 });
      await store.settle(seq, { state: "delivered", at: 7, receipt: receipt(7) });
      expect(await store.begin(seq)).toBeUndefined();
      expect(await store.begin(seq + 1)).toBeUndefined();
      expect(store.find("inbox", "main:a")).toMatchObject({ state: "delivered", begun: false, receipt: receipt(7) });
    });

    it("counts only attempts that count, and never forgets an uncertain one", async () => {
      const { store } = open();
      const { seq } = await store.append(entry("a"));
      await store.settle(seq, { state: "open", dueAt: 50, counted: true, uncertain: true, error: failed });
      expect(store.find("inbox", "main:a")).toMatchObject({ dueAt: 50, attempts: 1, uncertain: true, error: failed });
      await store.settle(seq, { state: "open", dueAt: 60, counted: false });
      expect(store.find("inbox", "main:a")).toMatchObject({ dueAt: 60, attempts: 1, uncertain: true });
      expect(store.find("inbox", "main:a")?.error).toBeUndefined();
      await store.settle(seq, { state: "delivered", at: 70 });
      expect(store.find("inbox", "main:a")).toMatchObject({ state: "delivered", uncertain: true, settledAt: 70 });
    });

    it("leaves a final entry as it is", async () => {
      const { store } = open();
      const { seq } = await store.append(entry("a"));
      await store.settle(seq, { state: "cancelled", at: 5 });
      await store.settle(seq, dead(6));
      await store.settle(seq, { state: "open", dueAt: 7, counted: true });
      expect(store.find("inbox", "main:a")).toMatchObject({ state: "cancelled", settledAt: 5, attempts: 0 });
    });

    it("puts a reply to a person into the conversation that became known in the same commit", async () => {
      const { store } = open();
      const message = store.append(entry("in"), conversation({ id: "cidNew==", staffId: "staff009" }));
      const reply = store.append(entry("out", { queue: "outbox", lane: userLane("main", "staff009") }));
      const [, appended] = await Promise.all([message, reply]);
      expect(appended.lane).toBe(conversationLane("main", "cidNew=="));
    });

    it("shows as head the first open entry of a lane, due or not", async () => {
      const { store } = open();
      const a = await store.append(entry("a"));
      const b = await store.append(entry("b"));
      const c = await store.append(entry("c", { lane: "main\ncidB" }));
      await store.append(entry("d", { queue: "outbox" }));
      await store.settle(a.seq, { state: "open", dueAt: 9_000, counted: true });
      expect(store.heads("inbox")).toEqual([
        { lane: LANE, seq: a.seq, dueAt: 9_000, crashes: 0 },
        { lane: "main\ncidB", seq: c.seq, dueAt: 0, crashes: 0 },
      ]);
      await store.settle(a.seq, { state: "delivered", at: 1 });
      expect(store.head("inbox", LANE)).toEqual({ lane: LANE, seq: b.seq, dueAt: 0, crashes: 0 });
      expect(store.head("inbox", "main\nnobody")).toBeUndefined();
    });
  });

  describe(`${name}: parts`, () => {
    it("keeps them in order and settles them one by one", async () => {
      const { store } = open();
      const { seq } = await store.append(entry("a", { queue: "outbox", parts: ["one", { n: 2 }, "three"] }));
      await store.deliverPart(seq, 1, receipt(3));
      expect(store.parts(seq)).toEqual([
        { n: 0, body: "one", receipt: undefined },
        { n: 1, body: { n: 2 }, receipt: receipt(3) },
        { n: 2, body: "three", receipt: undefined },
      ]);
      expect(store.parts(seq + 1)).toEqual([]);
    });
  });

  describe(`${name}: cancel`, () => {
    it("cancels what waits, also between two attempts", async () => {
      const { store } = open();
      const { seq } = await store.append(entry("a", { queue: "outbox", parts: ["one"] }));
      await store.begin(seq);
      await store.settle(seq, { state: "open", dueAt: 50, counted: true });
      expect(await store.cancel("outbox", "main:a", 60)).toBe(true);
      expect(store.find("outbox", "main:a")).toMatchObject({ state: "cancelled", settledAt: 60 });
      expect(store.head("outbox", LANE)).toBeUndefined();
    });

    it("does not cancel what is begun, partly delivered, final or unknown", async () => {
      const { store } = open();
      const begun = await store.append(entry("begun"));
      await store.begin(begun.seq);
      const partly = await store.append(entry("partly", { parts: ["one", "two"] }));
      await store.deliverPart(partly.seq, 0, receipt(1));
      const done = await store.append(entry("done"));
      await store.settle(done.seq, { state: "delivered", at: 1 });
      for (const name of ["begun", "partly", "done", "unknown"]) {
        expect(await store.cancel("inbox", `main:${name}`, 9), name).toBe(false);
      }
      expect(store.find("inbox", "main:partly")?.state).toBe("open");
    });

    it("of a cancel and a begin in one turn only the first takes effect", async () => {
      const { store } = open();
      const a = await store.append(entry("a"));
      const b = await store.append(entry("b"));
      const [cancelled, begun] = await Promise.all([store.cancel("inbox", "main:a", 1), store.begin(a.seq)]);
      expect([cancelled, begun]).toEqual([true, undefined]);
      const [begunFirst, tooLate] = await Promise.all([store.begin(b.seq), store.cancel("inbox", "main:b", 1)]);
      expect([begunFirst?.id, tooLate]).toEqual(["main:b", false]);
    });
  });

  describe(`${name}: dead letters`, () => {
    it("lists both queues newest first, by account, in pages", async () => {
      const { store } = open();
      for (const [i, account] of ["main", "other", "main", "third", "main"].entries()) {
        const queue = i % 2 === 0 ? "inbox" : "outbox";
        const { seq } = await store.append(entry(`${i}`, { account, queue }));
        await store.settle(seq, dead(i));
      }
      const ids = (options: { accounts?: string[]; limit: number; before?: number }): string[] =>
        store.deadLetters(options).map(({ id }) => id);
      expect(ids({ limit: 10 })).toEqual(["main:4", "main:3", "main:2", "main:1", "main:0"]);
      expect(ids({ limit: 10, accounts: ["main", "third"] })).toEqual(["main:4", "main:3", "main:2", "main:0"]);
      expect(ids({ limit: 10, accounts: [] })).toEqual([]);
      const page = store.deadLetters({ limit: 2 });
      expect(ids({ limit: 2, before: page[1]?.seq ?? 0 })).toEqual(["main:2", "main:1"]);
    });

    it("replays in order of the first commit, with the undelivered parts and a new age", async () => {
      const { store } = open();
      const a = await store.append(entry("a", { parts: ["one", "two"] }));
      const b = await store.append(entry("b"));
      await store.deliverPart(a.seq, 0, receipt(2));
      await store.settle(a.seq, { state: "open", dueAt: 1, counted: true, uncertain: true });
      await store.settle(a.seq, dead(3));
      expect(store.head("inbox", LANE)?.seq).toBe(b.seq);
      expect(await store.replay("inbox", "main:a", 77)).toMatchObject({
        state: "open",
        attempts: 0,
        crashes: 0,
        dueAt: 77,
        createdAt: 77,
        settledAt: undefined,
        uncertain: true,
      });
      expect(store.head("inbox", LANE)?.seq).toBe(a.seq);
      expect(store.parts(a.seq).map((part) => part.receipt)).toEqual([receipt(2), undefined]);
      expect(await store.replay("inbox", "main:a", 78)).toBeUndefined();
      expect(await store.replay("outbox", "main:a", 78)).toBeUndefined();
    });

    it("discards a dead letter with its parts, and nothing else", async () => {
      const { store } = open();
      const { seq } = await store.append(entry("a", { parts: ["one"] }));
      expect(await store.discard("inbox", "main:a")).toBe(false);
      await store.settle(seq, dead(1));
      expect(await store.discard("outbox", "main:a")).toBe(false);
      expect(await store.discard("inbox", "main:a")).toBe(true);
      expect(store.find("inbox", "main:a")).toBeUndefined();
      expect(store.parts(seq)).toEqual([]);
    });
  });

  describe(`${name}: conversation directory`, () => {
    it("keeps what a later message does not say, and takes what it says", async () => {
      const { store } = open();
      const webhook = { url: "https://oapi.dingtalk.com/robot/sendBySession?session=1", expiresAt: 9_000 };
      await store.append(entry("a"), conversation({ title: "测试群", staffId: "staff001", webhook }));
      await store.append(entry("b"), conversation({ lastSeen: 2_000 }));
      const known = conversation({ title: "测试群", staffId: "staff001", webhook, lastSeen: 2_000 });
      expect(store.conversation("main", "cidA")).toEqual(known);
      await store.append(entry("c"), conversation({ title: "新名", lastSeen: 1_500 }));
      expect(store.conversation("main", "cidA")).toEqual({ ...known, title: "新名" });
      expect(store.conversation("main", "cida")).toBeUndefined();
      expect(store.conversation("other", "cidA")).toBeUndefined();
    });

    it("keeps the webhook that lives longest", async () => {
      const { store } = open();
      for (const [name, expiresAt] of [
        ["a", 5_000],
        ["b", 9_000],
        ["c", 7_000],
      ] as const) {
        await store.append(
          entry(name),
          conversation({ webhook: { url: `https://oapi.dingtalk.com/${name}`, expiresAt } }),
        );
      }
      expect(store.conversation("main", "cidA")?.webhook).toEqual({
        url: "https://oapi.dingtalk.com/b",
        expiresAt: 9_000,
      });
    });

    it("finds a person's direct conversation, the one seen last", async () => {
      const { store } = open();
      await store.append(entry("a"), conversation({ staffId: "staff001", lastSeen: 10 }));
      await store.append(entry("b"), conversation({ id: "cidB", staffId: "staff001", lastSeen: 20 }));
      await store.append(entry("c"), conversation({ id: "cidG", kind: "group", staffId: "staff001", lastSeen: 30 }));
      expect(store.directConversation("main", "staff001")?.id).toBe("cidB");
      expect(store.directConversation("main", "STAFF001")).toBeUndefined();
      expect(store.directConversation("other", "staff001")).toBeUndefined();
    });

    it("gives a person's open outbox entries to the direct conversation, in order of commit", async () => {
      const { store } = open();
      const from = userLane("main", "staff001");
      const outbox = (name: string, lane: string) => store.append(entry(name, { queue: "outbox", lane }));
      const first = await outbox("1", from);
      const second = await outbox("2", LANE);
      await outbox("3", userLane("main", "staff002"));
      const done = await outbox("4", from);
      await store.settle(done.seq, { state: "delivered", at: 1 });
      const group = conversation({ id: "cidG", kind: "group", staffId: "staff001" });
      expect((await store.append(entry("g"), group)).merged).toBeUndefined();
      const seen = await store.append(entry("m"), conversation({ staffId: "staff001" }));
      expect(seen.merged).toEqual({ from, to: LANE });
      expect(store.head("outbox", from)).toBeUndefined();
      expect(store.head("outbox", LANE)?.seq).toBe(first.seq);
      await store.settle(first.seq, { state: "delivered", at: 1 });
      expect(store.head("outbox", LANE)?.seq).toBe(second.seq);
      expect(store.find("outbox", "main:4")?.lane).toBe(from);
      expect((await store.append(entry("n"), conversation({ staffId: "staff001" }))).merged).toBeUndefined();
    });
  });

  describe(`${name}: counts and retention`, () => {
    it("counts per queue, with the age of the oldest open entry", async () => {
      const { store } = open();
      expect(store.counts("inbox")).toEqual({ open: 0, dead: 0, oldestOpenAt: undefined });
      const a = await store.append(entry("a", { createdAt: 3 }));
      await store.append(entry("b", { createdAt: 2 }));
      await store.append(entry("c", { createdAt: 1, queue: "outbox" }));
      expect(store.counts("inbox")).toEqual({ open: 2, dead: 0, oldestOpenAt: 2 });
      await store.settle(a.seq, dead(1));
      expect(store.counts("inbox")).toEqual({ open: 1, dead: 1, oldestOpenAt: 2 });
      expect(store.counts("outbox")).toEqual({ open: 1, dead: 0, oldestOpenAt: 1 });
    });

    it("purges what is past its time and nothing else", async () => {
      const { store } = open();
      for (const [name, at] of [
        ["old", 10],
        ["new", 20],
      ] as const) {
        const done = await store.append(entry(`done-${name}`, { parts: ["one"] }));
        await store.settle(done.seq, { state: "delivered", at });
        const gone = await store.append(entry(`dead-${name}`));
        await store.settle(gone.seq, dead(at));
        const webhook = { url: `https://oapi.dingtalk.com/${name}`, expiresAt: at };
        await store.append(entry(`open-${name}`), conversation({ id: name, lastSeen: at, webhook }));
      }
      const before = { settledBefore: 20, deadBefore: 20, conversationsBefore: 20, now: 21 };
      expect(await store.purge(before)).toBe(3);
      const left = ["done", "dead", "open"].flatMap((kind) => [`${kind}-old`, `${kind}-new`]);
      expect(left.filter((name) => store.find("inbox", `main:${name}`))).toEqual([
        "done-new",
        "dead-new",
        "open-old",
        "open-new",
      ]);
      expect(store.conversation("main", "old")).toBeUndefined();
      expect(store.conversation("main", "new")).toMatchObject({ webhook: undefined, lastSeen: 20 });
      expect(await store.append(entry("x", { key: "key:done-old" }))).toMatchObject({ duplicate: false });
    });

    it("purges more than one commit takes", async () => {
      const { store } = open();
      const gone = { dead: failed, createdAt: 1 };
      await Promise.all(Array.from({ length: 10_001 }, (_, i) => store.append(entry(`${i}`, gone))));
      const later = { settledBefore: 0, deadBefore: 2, conversationsBefore: 0, now: 0 };
      expect(await store.purge(later)).toBe(10_001);
      expect(store.counts("inbox").dead).toBe(0);
    });
  });

  describe(`${name}: crash`, () => {
    it("keeps all that was committed and shows which attempts were cut off", async () => {
      const { store, crash } = open();
      const begun = await store.append(entry("begun"), conversation({ staffId: "staff001" }));
      await store.begin(begun.seq);
      const retried = await store.append(entry("retried", { lane: "main\ncidB", parts: ["one", "two"] }));
      await store.begin(retried.seq);
      await store.deliverPart(retried.seq, 0, receipt(4));
      await store.settle(retried.seq, { state: "open", dueAt: 50, counted: true, error: failed });
      const done = await store.append(entry("done"));
      await store.settle(done.seq, { state: "delivered", at: 3 });
      void store.append(entry("uncommitted"));
      const after = crash();
      expect(after.find("inbox", "main:begun")).toMatchObject({
        state: "open",
        begun: false,
        crashes: 1,
        uncertain: true,
        attempts: 0,
      });
      const same = { state: "open", crashes: 0, uncertain: false, attempts: 1, dueAt: 50, error: failed };
      expect(after.find("inbox", "main:retried")).toMatchObject(same);
      expect(after.parts(retried.seq).map((part) => part.receipt)).toEqual([receipt(4), undefined]);
      expect(after.find("inbox", "main:done")).toMatchObject({ state: "delivered", crashes: 0 });
      expect(after.find("inbox", "main:uncommitted")).toBeUndefined();
      expect(after.directConversation("main", "staff001")?.id).toBe("cidA");
      expect(after.heads("inbox")).toMatchObject([
        { seq: begun.seq, crashes: 1 },
        { seq: retried.seq, crashes: 0 },
      ]);
    });

    it("commits what was submitted before close", async () => {
      const { store, crash } = open();
      const appended = store.append(entry("a"));
      await store.close();
      expect(await appended).toMatchObject({ duplicate: false });
      await store.close();
      await expect(store.append(entry("b"))).rejects.toMatchObject({ code: "store_unavailable", retryable: true });
      expect(crash().find("inbox", "main:a")).toMatchObject({ state: "open" });
    });
  });
}
