import { addAbortSignal } from "node:stream";
import type { CommandContext } from "./command.ts";

/** All that comes by standard input, until its end; Ctrl-C ends the wait. */
export async function readStdin({ stdin, signal }: Pick<CommandContext, "stdin" | "signal">): Promise<string> {
  // `toArray({ signal })` looks at the signal only when something comes.
  const chunks = (await addAbortSignal(signal, stdin).setEncoding("utf8").toArray()) as string[];
  return chunks.join("");
}
