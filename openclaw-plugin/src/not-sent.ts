import type { MessageState } from "./bridge-client.ts";
import { type Bridge, BridgeAway, BridgeRefusal } from "./bridge-http.ts";
import { FileRefusal } from "./files-out.ts";
import { probeBridge, sentence } from "./probe.ts";

/** A message did not go out: nobody has seen any of it. It carries no cause, because OpenClaw would append that to the words. */
export class NotSent extends Error {
  /** Another try may succeed without anybody mending anything. */
  readonly isForNow: boolean;

  constructor(message: string, { isForNow = false } = {}) {
    super(`dingtalk: ${message}`);
    this.name = "NotSent";
    this.isForNow = isForNow;
  }
}

/** Codes of the bridge with what the sender can do about them, where its own words do not say it. */
const HINTS: Readonly<Record<string, string>> = {
  recipient_unknown:
    "check the staffId: the gateway's log names it with each of the person's messages, and DingTalk's admin console has it",
};

/** What DingTalk refused for good, or an operator cancelled. */
export function deadLetter(to: string, { id, status, error, delivered, uncertain }: MessageState): Error {
  const reason = error ? `${error.code} (${error.detail})` : status;
  const hint = error && HINTS[error.code];
  const text = `message ${id} to ${to} was not delivered: ${reason}${hint === undefined ? "" : `; ${hint}`}`;
  if (delivered === 0 && !uncertain) return new NotSent(text);
  return new Error(`dingtalk: ${text}; part of it may have arrived`);
}

/** Whatever kept a message from being sent, in words that say what to do. */
export async function notSent(bridge: Bridge, thrown: unknown): Promise<unknown> {
  if (thrown instanceof NotSent || bridge.signal?.aborted) return thrown;
  if (thrown instanceof FileRefusal) return new NotSent(thrown.message);
  const isSetUp = thrown instanceof BridgeRefusal && thrown.code === "unauthorized";
  if (thrown instanceof BridgeRefusal && !isSetUp) return new NotSent(thrown.message);
  if (!isSetUp && !(thrown instanceof BridgeAway)) return thrown;
  const { problems } = await probeBridge(bridge);
  const problem = problems.find(({ code }) => code !== "gateway" && code !== "dingtalk" && code !== "starting");
  const text = `not sent: ${problem ? sentence(problem) : thrown.message}`;
  // Not answered may mean taken all the same, unless nobody was there.
  return isSetUp || problem?.code === "away" || problem?.code === "not_bridge" || problem?.code === "url"
    ? new NotSent(text, { isForNow: !isSetUp })
    : new Error(`dingtalk: ${text}`);
}

/**
 * The error as OpenClaw's delivery queue understands it. At a prompt nothing that was told as failed may be sent later; a gateway may try
 * again what could not be handed over. The SDK's class is newer than some releases; a plain error does there.
 */
export async function orHostError(error: unknown, { isAtPrompt }: { isAtPrompt: boolean }): Promise<unknown> {
  if (!(error instanceof NotSent)) return error;
  const retryable = error.isForNow && !isAtPrompt;
  try {
    const { PlatformMessageNotDispatchedError } = await import("openclaw/plugin-sdk/error-runtime");
    return new PlatformMessageNotDispatchedError(error.message, { cause: undefined, retryable });
  } catch {
    return error;
  }
}
