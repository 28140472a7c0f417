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

/** Lines kept for when stdout takes them again; those beyond are lost. */
const KEPT_BYTES = 1024 * 1024;

/** Lines on stdout, written synchronously so that the last one before a crash is there. */
export function createLogger(options: {
  level: string;
  version: string;
  /** `json` (default) for machines, `pretty` for people. */
  format?: "json" | "pretty";
  destination?: DestinationStream;
}): Logger {
  const stdout = () => {
    const destination = pino.destination({ fd: 1, sync: true, maxLength: KEPT_BYTES });
    // Where stdout is a file on a full disk, the line would otherwise throw in the midst of whatever logs it (seen).
    destination.on("error", () => {});
    return options.format === "pretty"
      ? pretty({ sync: true, ignore: "service,version", translateTime: "SYS:HH:MM:ss.l", destination })
      : destination;
  };
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
