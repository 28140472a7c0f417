import { type DestinationStream, type Logger, pino } from "pino";
import pretty from "pino-pretty";

export type { Logger } from "pino";

/** Keys whose values never reach a log, wherever one level of nesting puts them. */
const SECRET_KEYS = [
  "authorization",
  "appSecret",
  "clientSecret",
  "access_token",
  "accessToken",
  "x-acs-dingtalk-access-token",
  "sessionWebhook",
  "webhook",
  "ticket",
  "token",
  "secret",
];

/** Lines on stdout, written synchronously so that the last one before a crash is there. */
export function createLogger(options: {
  level: string;
  version: string;
  /** `json` (default) for machines, `pretty` for people. */
  format?: "json" | "pretty";
  destination?: DestinationStream;
}): Logger {
  const stdout = () =>
    options.format === "pretty"
      ? pretty({ sync: true, ignore: "service,version", translateTime: "SYS:HH:MM:ss.l" })
      : pino.destination({ fd: 1, sync: true });
  return pino(
    {
      level: options.level,
      base: { service: "dingtalk-bridge", version: options.version },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: SECRET_KEYS.flatMap((key) => [`["${key}"]`, `*["${key}"]`]),
        censor: "[redacted]",
      },
    },
    options.destination ?? stdout(),
  );
}
