import { Writable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { CommandError, type CommandContext, EXIT } from "./command.ts";

export interface Questions {
  text(message: string, proposal?: string): Promise<string>;
  /** Nothing of what is typed is shown. */
  secret(message: string): Promise<string>;
  /** No is what Enter means. */
  agree(message: string): Promise<boolean>;
}

interface Terminal {
  input: CommandContext["stdin"];
  output: Writable;
  signal: AbortSignal;
}

/** Asks on the terminal. Each question throws CommandError (status 130) when Ctrl-C, Ctrl-D or the end of the input ends it. */
export async function openQuestions({ stdin, stderr, signal }: CommandContext): Promise<Questions> {
  const [{ default: input }, { default: password }] = await Promise.all([
    import("@inquirer/input"),
    import("@inquirer/password"),
  ]);
  // On stderr, so that stdout can be piped. Each question ends its output, which is not to be the end of stderr.
  const output = (): Writable => {
    const lines = new Writable({ write: (chunk: Buffer, encoding, done) => void stderr.write(chunk, encoding, done) });
    return "columns" in stderr ? Object.assign(lines, { columns: stderr.columns }) : lines;
  };
  const ask = async (question: (terminal: Terminal) => Promise<string>): Promise<string> => {
    const closed = new AbortController();
    // At Ctrl-D a question only lets go of the input, and nothing would be left that its answer could come by (seen). One that is answered
    // lets go as well: it is settled by the next turn.
    const letGo = (): void => void setImmediate().then(() => closed.abort());
    stdin.once("pause", letGo);
    try {
      return await asked(
        question({ input: stdin, output: output(), signal: AbortSignal.any([signal, closed.signal]) }),
      );
    } finally {
      stdin.off("pause", letGo);
    }
  };
  const required = (value: string): boolean | string => value.trim() !== "" || "it is needed";
  return {
    text: async (message, proposal) => {
      const wanted = { message, validate: required, ...(proposal !== undefined && { default: proposal }) };
      return (await ask((terminal) => input(wanted, terminal))).trim();
    },
    secret: async (message) => {
      const wanted = { message, mask: false, toggleMask: false, validate: required };
      return (await ask((terminal) => password(wanted, terminal))).trim();
    },
    agree: async (message) => {
      const answer = await ask((terminal) => input({ message: `${message} (y/N)` }, terminal));
      return /^(y|yes|是)$/i.test(answer.trim());
    },
  };
}

async function asked(question: Promise<string>): Promise<string> {
  try {
    const answer = await question;
    // The line's end is written in the next turn.
    await setImmediate();
    return answer;
  } catch (thrown) {
    const ended = thrown instanceof Error && /^(ExitPrompt|AbortPrompt|CancelPrompt)Error$/.test(thrown.name);
    if (ended) throw new CommandError("interrupted; nothing was written", { status: EXIT.interrupted, cause: thrown });
    throw thrown;
  }
}
