/*
 * The image's health check: status 0 when the bridge says that it is healthy. What it answers is printed, and
 * `docker inspect` shows it.
 */
const { BRIDGE_HOST: host = "", BRIDGE_PORT: port = "" } = process.env;
const everywhere = ["", "0.0.0.0", "::", "[::]"].includes(host);
const name = everywhere ? "127.0.0.1" : host.includes(":") ? `[${host.replaceAll(/[[\]]/g, "")}]` : host;
const url = `http://${name}:${port || "8790"}/healthz`;
try {
  const answer = await fetch(url, { signal: AbortSignal.timeout(8_000) });
  console.log(await answer.text());
  process.exitCode = answer.ok ? 0 : 1;
} catch (error) {
  console.log(`nothing answers at ${url}: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
