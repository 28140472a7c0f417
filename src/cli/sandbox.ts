import { type CliCommand, UsageError } from "./command.ts";

interface SandboxOptions {
  say?: string;
  file?: string[];
  gateway?: string;
  port?: string;
}

export const sandboxCommand: CliCommand<SandboxOptions> = {
  name: "sandbox",
  summary: "try it without a DingTalk account and without a gateway",
  description:
    "Simulates DingTalk and a gateway, with the real bridge between them: type as a DingTalk user. Needs no settings and leaves nothing behind.",
  examples: [
    ["dingtalk-bridge sandbox", "a dialogue; /help lists what there is"],
    ['dingtalk-bridge sandbox --say "你好"', "one message, its answer, end; status 1 when none came"],
  ],
  configure(command) {
    command
      .option("--say <text>", "say one thing, print the answer, end")
      .option("--file <path>", "send this file, the same way; may be given again", (path: string, all?: string[]) => [
        ...(all ?? []),
        path,
      ])
      .option("--gateway <url>", "use this gateway instead of the scripted one")
      .option("--port <n>", "port of the bridge's API (8790 with --gateway, else any free one)");
  },
  async run({ context, options }) {
    const port = options.port ?? (options.gateway === undefined ? "0" : "8790");
    if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
      throw new UsageError("--port is not a number from 0 to 65535", "dingtalk-bridge sandbox --port 8790");
    }
    return context.host.runSandbox({
      version: context.version,
      port: Number(port),
      input: context.stdin,
      output: context.stdout,
      signal: context.signal,
      ...(options.say !== undefined && { say: options.say }),
      ...(options.file !== undefined && { files: options.file }),
      ...(options.gateway !== undefined && { gatewayUrl: options.gateway }),
    });
  },
};
