import { setTimeout as pause } from "node:timers/promises";
import type { PushHandle } from "./dingtalk-types.ts";
import type { Sandbox } from "./run.ts";
import type { Chat } from "./terminal-chat.ts";
import type { PersonFile } from "./terminal-files.ts";
import type { Person } from "./terminal-person.ts";

const LOOK_EVERY_MS = 50;

export interface Patience {
  /** More than so many messages and cards have to be shown. */
  before: number;
  /** Without a sign of life. */
  withinMs: number;
  signal: AbortSignal;
}

/**
 * Resolves true when something was shown in the chats and nothing more is on its way, as far as it can be told; false when
 * nothing was heard for `withinMs`, or by `signal`.
 */
export async function answered(sandbox: Sandbox, chat: Chat, patience: Patience): Promise<boolean> {
  const { before, withinMs, signal } = patience;
  const since = performance.now();
  while (performance.now() - Math.max(since, chat.lastSignAt) < withinMs && !signal.aborted) {
    if (chat.shown > before && (await isQuiet(sandbox, chat))) return true;
    await pause(LOOK_EVERY_MS);
  }
  return false;
}

async function isQuiet(sandbox: Sandbox, chat: Chat): Promise<boolean> {
  // In this order: what the gateway has taken it answers, and what it has answered is with the bridge.
  if ((await sandbox.pending()) > 0 || (sandbox.gateway?.replying ?? 0) > 0) return false;
  return (await sandbox.pending()) === 0 && !chat.isGrowing;
}

/** Says a text, sends files, or pictures with the text. Resolves with the pushes, acknowledged ones as far as possible. */
export async function sayAll(
  person: Person,
  text: string | undefined,
  files: readonly PersonFile[],
): Promise<PushHandle[]> {
  const together = text !== undefined && files.length > 0 && files.every(({ kind }) => kind === "picture");
  const pushes: PushHandle[] = [];
  if (text !== undefined && !together) pushes.push(await person.say(text));
  if (files.length > 0) pushes.push(await person.sendFiles(files, together ? text : undefined));
  // Unacknowledged is not stored: what the bridge has to do yet would be none.
  await Promise.allSettled(pushes.filter(({ delivered }) => delivered).map((push) => push.acked()));
  return pushes;
}
