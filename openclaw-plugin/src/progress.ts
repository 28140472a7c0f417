/** The bridge shows no more of it. */
const LIMIT = 100;
/** What of a tool's arguments tells what it is about. Commands are left out: they hold paths, names and now and then secrets. */
const TELLING = ["query", "url", "path", "file_path", "pattern", "title"] as const;

/** What a tool does, in a few words: its name, and what it is about where that is a short text. */
export function progressLine(name: string, args: Readonly<Record<string, unknown>> = {}): string {
  const about = TELLING.map((key) => args[key]).find((value) => typeof value === "string" && value.trim() !== "");
  const words = name.replaceAll(/[_-]+/g, " ").trim();
  const line = about === undefined ? words : `${words}: ${String(about).replaceAll(/\s+/g, " ").trim()}`;
  const all = [...`🛠️ ${line}`];
  // Cut by characters as people count them, with room for those that count twice.
  return all.length <= LIMIT / 2 ? all.join("") : `${all.slice(0, LIMIT / 2 - 1).join("")}…`;
}
