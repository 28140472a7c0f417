import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import type { Command } from "commander";
import { PROGRAM } from "../../src/cli/as-typed.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { buildProgram } from "../../src/cli/run.ts";

/**
 * A page with the help of commands in it: the block of code after `<!-- help: NAME -->` is what `dingtalk-bridge NAME --help` prints;
 * the rest of the page stays as it is. NAME is empty for the program's own help.
 */
export function withHelp(page: string): () => string {
  return () => {
    const text = readFileSync(new URL(`../../${page}`, import.meta.url), "utf8");
    const block = /(<!-- help:([^>]*)-->\n\n```text\n)(?:(?!```)[\s\S])*(```)/g;
    return text.replaceAll(
      block,
      (_, before: string, path: string, after: string) => `${before}${helpOf(path.trim())}\n${after}`,
    );
  };
}

function helpOf(path: string): string {
  const nowhere = new PassThrough();
  const program = buildProgram(
    {
      env: {},
      cwd: "/",
      stdin: nowhere,
      stdout: nowhere,
      stderr: nowhere,
      signal: new AbortController().signal,
      version: "",
      host: {
        program: PROGRAM,
        insideContainer: false,
        onSignal: () => {},
        onFatal: () => {},
        exitAfter: () => {},
        runSandbox: () => Promise.resolve(0),
      },
    },
    COMMANDS,
    () => {},
  );
  let shown = "";
  let command: Command = program;
  for (const name of path === "" ? [] : path.split(" ")) {
    const child = command.commands.find((one) => one.name() === name);
    if (!child) throw new Error(`docs/cli.md shows the help of ${path}, which is no command`);
    command = child;
  }
  // What is below the options is part of the help only where it is printed.
  command.configureOutput({ writeOut: (text) => (shown += text) });
  command.outputHelp();
  return shown.trimEnd();
}
