import { timeOf } from "../dingtalk/json.ts";
import type { Attempted, Life } from "../queue/life.ts";
import type { Part } from "../queue/store.ts";
import type { StreamRow } from "../queue/stream-store.ts";
import type { StoredPush } from "./envelopes.ts";

/** A step before it is put in order. Epoch milliseconds. */
export interface TimedStep {
  at: number | undefined;
  step: string;
  detail: string;
  of: string;
}

/** Attempts that ended before anything was sent: the files of a message are fetched, a limit asks to wait. */
const NOT_SENT: ReadonlySet<string> = new Set(["media_pending", "pacing", "account_paused"]);

/** DingTalk → bridge → gateway. */
export function inboxSteps(life: Life): TimedStep[] {
  const { data, receivedAt = life.createdAt } = (life.body ?? {}) as Partial<StoredPush>;
  const sent = data && timeOf(data["createAt"]);
  const step = stepsOf(life.id);
  return [
    ...(sent === undefined ? [] : [step(sent, "written", "by DingTalk's clock")]),
    step(receivedAt, "received", "from DingTalk"),
    step(life.storedAt, "stored", ""),
    step(life.ackedAt, "acked", life.ackedAt === undefined ? "not known" : "to DingTalk"),
    ...life.history.map((attempt, n) => attemptStep(life, attempt, n, "posted to the gateway")),
    ...underWay(life, "posted to the gateway"),
    ...endOf(life, decisionOf(life)),
  ];
}

/** Gateway → bridge → DingTalk. */
export function outboxSteps(life: Life, parts: readonly Part[]): TimedStep[] {
  const step = stepsOf(life.id);
  const sent = parts.flatMap(({ n, receipt }) => {
    if (!receipt) return [];
    const { route, at, processQueryKey } = receipt;
    const id = processQueryKey === undefined ? "" : `, receipt ${processQueryKey}`;
    return [step(at, parts.length > 1 ? `part ${n + 1} of ${parts.length} sent` : "sent", `by ${route}${id}`)];
  });
  const attempts = life.history.map((attempt, n) => attemptStep(life, attempt, n, "sent to DingTalk"));
  return [
    step(life.createdAt, "reply accepted", life.kind),
    step(life.storedAt, "reply stored", ""),
    // The receipts say the same of an attempt that did what it should.
    ...attempts.filter((_, n) => life.history[n]?.outcome !== "delivered" || sent.length === 0),
    ...underWay(life, "sent to DingTalk"),
    ...sent,
    ...endOf(life, life.uncertain ? "an attempt had no answer: it may appear twice" : ""),
  ];
}

/** A reply that grows. */
export function streamSteps(row: StreamRow): TimedStep[] {
  const step = stepsOf(row.id);
  return [
    step(row.createdAt, "reply begun", row.mode === "card" ? `as a card, ${row.outTrackId}` : "as a message"),
    ...(row.closedAt === undefined
      ? [step(undefined, "reply grows", `card: ${row.card}`)]
      : [step(row.closedAt, "reply finished", `by ${row.finishedBy ?? "nobody"}, card: ${row.card}`)]),
  ];
}

const stepsOf =
  (of: string) =>
  (at: number | undefined, step: string, detail: string): TimedStep => ({ at, step, detail, of });

function attemptStep({ id }: Life, { at, ms, outcome, code, detail }: Attempted, n: number, done: string): TimedStep {
  const took = ms === undefined ? "" : ` after ${ms} ms`;
  const why = [code, detail].filter((word) => word !== undefined && word !== "").join(" ");
  const name = code !== undefined && NOT_SENT.has(code) ? "waited" : done;
  return { at, step: `${name} (${n + 1})`, detail: `${outcome}${took}${why === "" ? "" : `: ${why}`}`, of: id };
}

function underWay({ state, begun, begunAt, history, id }: Life, done: string): TimedStep[] {
  if (state !== "open" || !begun) return [];
  return [{ at: begunAt, step: `${done} (${history.length + 1})`, detail: "no answer yet", of: id }];
}

function endOf({ id, queue, state, settledAt, error, dueAt, begun }: Life, said: string): TimedStep[] {
  const why = error ? `${error.code} ${error.detail}`.trim() : "";
  const detail = [why, said].filter((part) => part !== "").join("; ");
  const names = { delivered: queue === "inbox" ? "taken" : "delivered", cancelled: "cancelled", dead: "dead letter" };
  if (state !== "open") return [{ at: settledAt, step: names[state], detail, of: id }];
  if (begun) return [];
  const due = dueAt > 0 ? `tried again at ${new Date(dueAt).toISOString()}` : "in line";
  return [{ at: undefined, step: "waits", detail: [due, detail].filter((part) => part !== "").join("; "), of: id }];
}

/** What the gateway said of a message that it took. */
function decisionOf({ state, receipt }: Life): string {
  if (state !== "delivered") return "";
  const { decision, reason, runId } = receipt ?? {};
  const said = [decision && `decision: ${decision}`, reason && `reason: ${reason}`, runId && `run: ${runId}`];
  return said.filter((part) => part !== undefined && part !== "").join(", ");
}
