/**
 * Loaded into the daemon with `node --import`: counts what it does and sends it SIGKILL at one step. Nothing in the
 * product knows of it. `KILL_AT=<what>:<phase>:<n>` names the step; `KILL_COUNTS=FILE` writes the counts at a normal end.
 *
 * - `commit:before|after:n`: the n-th COMMIT of any database, before it is given to SQLite and after it returned.
 * - `gateway|dingtalk:before|sent|after:n`: the n-th request to that side: before a byte was written, after the last was
 *   written, when the head of the answer was read. KILL_GATEWAY is the gateway's origin; every other one is DingTalk.
 */
import diagnostics from "node:diagnostics_channel";
import { writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";

type What = "commit" | "gateway" | "dingtalk";

const at = process.env["KILL_AT"];
const gatewayOrigin = process.env["KILL_GATEWAY"];
const countsFile = process.env["KILL_COUNTS"];
const counts: Record<What, number> = { commit: 0, gateway: 0, dingtalk: 0 };
const numberOf = new WeakMap<object, { what: What; n: number }>();

function step(what: What, phase: string, n: number): void {
  if (`${what}:${phase}:${n}` === at) process.kill(process.pid, "SIGKILL");
}

const exec = Object.getOwnPropertyDescriptor(DatabaseSync.prototype, "exec")?.value as (sql: string) => void;
DatabaseSync.prototype.exec = function counted(this: DatabaseSync, sql: string): void {
  if (!/\bCOMMIT$/.test(sql.trim())) return exec.call(this, sql);
  counts.commit += 1;
  const n = counts.commit;
  step("commit", "before", n);
  exec.call(this, sql);
  step("commit", "after", n);
};

interface Published {
  request: { origin?: string | URL };
}

// What undici tells of every request (its docs: DiagnosticsChannel).
diagnostics.subscribe("undici:request:create", (message) => {
  const { request } = message as Published;
  const what = String(request.origin ?? "") === gatewayOrigin ? "gateway" : "dingtalk";
  counts[what] += 1;
  numberOf.set(request, { what, n: counts[what] });
  step(what, "before", counts[what]);
});
for (const [channel, phase] of [
  ["undici:request:bodySent", "sent"],
  ["undici:request:headers", "after"],
] as const) {
  diagnostics.subscribe(channel, (message) => {
    const known = numberOf.get((message as Published).request);
    if (known) step(known.what, phase, known.n);
  });
}

if (countsFile !== undefined) process.on("exit", () => writeFileSync(countsFile, JSON.stringify(counts)));
