#!/usr/bin/env node
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { programOf } from "./cli/as-typed.ts";
import { EXIT } from "./cli/command.ts";
import { COMMANDS } from "./cli/commands.ts";
import { runCli } from "./cli/run.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const quit = new AbortController();
const interrupt = (): void => {
  if (quit.signal.aborted) process.exit(EXIT.interrupted);
  quit.abort();
};
process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
// A reader that has seen enough (`| head`) is no error of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failed),
);
// Nobody is left who could be told, and the work goes on.
process.stderr.on("error", () => undefined);

process.exitCode = await runCli(
  process.argv.slice(2),
  {
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: quit.signal,
    version,
    host: {
      program: programOf(fileURLToPath(import.meta.url), process.execPath),
      insideContainer: existsSync("/.dockerenv"),
      onSignal(name, listener) {
        // In this order: without any listener in between a signal that has just come would be lost (seen).
        process.on(name, listener).off(name, interrupt);
      },
      onFatal(listener) {
        for (const kind of ["uncaughtException", "unhandledRejection"] as const) {
          process.on(kind, (error: unknown) => listener(kind, error));
        }
      },
      exitAfter(ms, status) {
        setTimeout(() => process.exit(status), ms).unref();
      },
      async runSandbox(options) {
        const { runSandbox } = await import("./sandbox/terminal.ts");
        return runSandbox(options);
      },
    },
  },
  COMMANDS,
);
