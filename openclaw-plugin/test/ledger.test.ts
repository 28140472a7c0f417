import { expect, test } from "vitest";
import { Ledger } from "../src/ledger.ts";

const author = (sender: string, conversation = "cid1") => ({ account: "default", conversation, sender });

test("who asks to stop takes back what waits of his in the conversation, and nothing else", () => {
  const ledger = new Ledger();
  const [waiting, deferred, other, elsewhere, running] = [
    ledger.begin("waiting", author("a")),
    ledger.begin("deferred", author("a")),
    ledger.begin("other", author("b")),
    ledger.begin("elsewhere", author("a", "CID1")),
    ledger.begin("running", author("a")),
  ];
  deferred.note({ kind: "deferred" });
  running.note({ kind: "taken", decision: { decision: "accepted" } });
  const stop = ledger.begin("stop", author("a"));
  ledger.stop(stop);

  for (const { id, standing, stopped } of [waiting, deferred]) {
    expect([standing, stopped.aborted]).toMatchObject([{ kind: "taken", decision: { decision: "stopped" } }, true]);
    expect(ledger.open(id)).toBeUndefined();
  }
  for (const { stopped } of [other, elsewhere, running, stop]) expect(stopped.aborted).toBe(false);
  expect(running.standing).toMatchObject({ decision: { decision: "accepted" } });
  expect(ledger.open("other")).toBe(other);
});

test("the bridge is told once what was decided, and then that it knows", () => {
  const ledger = new Ledger();
  ledger.begin("a").note({ kind: "taken", decision: { decision: "merged" } });
  expect(ledger.taken("a")).toEqual({ decision: { decision: "merged" }, wasTold: false });
  expect(ledger.taken("a")).toEqual({ decision: { decision: "merged" }, wasTold: true });
});
