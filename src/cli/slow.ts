import type { Writable } from "node:stream";

const AFTER_MS = 5_000;

/** Does `work`; says `words` once if it takes longer than a moment, so that nobody takes it for dead. */
export async function tellWhenSlow<T>(
  stderr: Writable,
  words: string,
  work: () => Promise<T>,
  afterMs = AFTER_MS,
): Promise<T> {
  const timer = setTimeout(() => stderr.write(`${words}\n`), afterMs);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
  }
}
