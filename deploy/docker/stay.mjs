/*
 * The compose files' entry point. A restart policy of Docker knows no exit status that restarting does not mend (systemd:
 * RestartPreventExitStatus), and would repeat the same complaint for ever. After such an end of `start` this process stays, with
 * nothing started and unhealthy, until it is stopped. Every other end, and every other command, is as without it.
 */
const FINAL = new Set([64, 78]);

await import("./dist/bin.js");
const status = Number(process.exitCode ?? 0);
if (process.argv[2] === "start" && FINAL.has(status)) {
  console.error("Nothing runs until this is mended. Then: docker compose up -d");
  const held = setInterval(() => {}, 2 ** 30);
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => clearInterval(held));
}
