import { expect, test } from "vitest";
import { DecisionLog, decisionLine } from "../src/decision-log.ts";
import { type Entry, Ledger } from "../src/ledger.ts";
import type { MessageEnvelope } from "../src/types.ts";

const envelope: MessageEnvelope = {
  id: "main:msg1==",
  account: "main",
  type: "message",
  message: {
    sentAt: undefined,
    conversation: { kind: "group", id: "cidGroup" },
    sender: { id: "staff001", staffId: "staff001", dingtalkId: "$:LWCP_v1:$x", name: "张三" },
    mentioned: true,
    text: "a secret",
    parts: [],
  },
  replyTo: "conversation:cidGroup",
};
const about = { accountId: "default", envelope };

function logged(): { lines: string[]; entry: Entry; log: DecisionLog } {
  const lines: string[] = [];
  const entry = new Ledger().begin(envelope.id);
  const say = (line: string): number => lines.push(line);
  return { lines, entry, log: new DecisionLog({ info: say, warn: say, error: say }, about, entry) };
}

test("one line names sender, conversation and decision, and not the text", () => {
  const { lines, entry, log } = logged();
  log.admitted("group_policy_open");
  entry.note({ kind: "taken", decision: { decision: "accepted", runId: "run-1" } });
  expect(lines).toEqual([
    "dingtalk: senderStaffId=staff001 senderId=$:LWCP_v1:$x conversationId=cidGroup decision=accepted " +
      "reason=group_policy_open chat=group account=default message=main:msg1== run=run-1",
  ]);
});

test("the reason of a denial stands without the word that is there already", () => {
  const { lines, entry } = logged();
  entry.note({ kind: "taken", decision: { decision: "denied", reason: "denied: group_disabled" } });
  expect(lines).toEqual([expect.stringContaining("decision=denied reason=group_disabled ")]);
});

test("what waits was accepted, and that it then has its turn is not said twice", () => {
  const { lines, entry } = logged();
  entry.note({ kind: "deferred" });
  entry.note({ kind: "deferred" });
  entry.note({ kind: "taken", decision: { decision: "accepted" } });
  expect(lines).toEqual([expect.stringContaining("decision=accepted")]);
});

test.for([
  [{ kind: "taken", decision: { decision: "merged", reason: "merged: into the answer in progress" } }, "merged"],
  [{ kind: "failed", reason: "OpenClaw gave the turn up" }, "failed"],
] as const)("what comes of it later has a line of its own", ([standing, decision]) => {
  const { lines, entry } = logged();
  entry.note({ kind: "deferred" });
  entry.note(standing);
  entry.note({ kind: "failed", reason: "too late" });
  expect(lines).toHaveLength(2);
  expect(lines[1]).toContain(`decision=${decision} reason="`);
});

test("no value makes a line of its own or another field", () => {
  const { sender } = envelope.message;
  const odd = { ...sender, staffId: 'x\ndingtalk: decision=accepted "' };
  const line = decisionLine(
    { accountId: "default", envelope: { ...envelope, message: { ...envelope.message, sender: odd } } },
    { decision: "denied" },
  );
  expect(line).not.toContain("\n");
  expect(line).toContain(String.raw`senderStaffId="x\ndingtalk: decision=accepted \"" senderId=`);
});
