import type { Log } from "./bridge-http.ts";
import type { Entry, Standing } from "./ledger.ts";
import type { MessageEnvelope } from "./types.ts";

export interface Decided {
  decision: string;
  /** A code of OpenClaw's or a few words; never what the person wrote. */
  reason?: string | undefined;
  runId?: string | undefined;
}

/**
 * Writes down what is decided about one message, whoever decides it: one line as soon as it is known, and another one when something
 * else comes of it later. The lines name the sender and the conversation, which is where an operator finds the ids for the allow lists.
 */
export class DecisionLog {
  readonly #log: Log;
  readonly #about: { accountId: string; envelope: MessageEnvelope };
  #reason: string | undefined;
  #last: string | undefined;

  /** From now on `entry` says here what it is told. */
  constructor(log: Log, about: { accountId: string; envelope: MessageEnvelope }, entry: Entry) {
    this.#log = log;
    this.#about = about;
    const note = entry.note.bind(entry);
    entry.note = (standing) => {
      const before = entry.standing;
      note(standing);
      // What is noted after the end is ignored, and here, too.
      if (entry.standing !== before) this.#write(decidedBy(standing));
    };
  }

  /** Why the message was let in. */
  admitted(reason: string): void {
    this.#reason = reason;
  }

  #write({ decision, reason, runId }: Decided): void {
    // It waited, and now it has its turn: that it was accepted has been said.
    if (decision === this.#last) return;
    this.#last = decision;
    const why = reason ?? (decision === "accepted" ? this.#reason : undefined);
    const line = decisionLine(this.#about, { decision, reason: why, runId });
    if (decision === "failed") this.#log.warn(line);
    else this.#log.info(line);
  }
}

/** `dingtalk: senderStaffId=… senderId=… conversationId=… decision=… …` */
export function decisionLine(
  { accountId, envelope }: { accountId: string; envelope: MessageEnvelope },
  { decision, reason, runId }: Decided,
): string {
  const { sender, conversation } = envelope.message;
  const fields = {
    senderStaffId: sender.staffId ?? "-",
    senderId: sender.dingtalkId ?? sender.id,
    conversationId: conversation.id,
    decision,
    reason,
    chat: conversation.kind,
    account: accountId,
    message: envelope.id,
    run: runId,
  };
  return `dingtalk: ${Object.entries(fields)
    .filter((field): field is [string, string] => field[1] !== undefined)
    .map(([name, value]) => `${name}=${plain(value)}`)
    .join(" ")}`;
}

function decidedBy(standing: Standing): Decided {
  if (standing.kind === "failed") return { decision: "failed", reason: standing.reason };
  if (standing.kind === "deferred") return { decision: "accepted" };
  const { decision, reason, runId } = standing.decision;
  return { decision, reason: reason?.replace(`${decision}: `, ""), runId };
}

/** One word stays as it is; anything else is put in quotes, on one line. */
const plain = (value: string): string => (/^[^\s"\p{C}]+$/u.test(value) ? value : JSON.stringify(value));
