import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, onTestFinished } from "vitest";
import type { DeadLetterView } from "../../src/app.ts";
import { type TestBridge, startBridge } from "../support/bridge.ts";
import { freePort } from "../support/daemon.ts";
import { cli, envOf } from "./support.ts";

let bridge: TestBridge | undefined;
afterEach(async () => {
  await bridge?.close();
  bridge = undefined;
});

/** Dead letters for people who are not there; their ids, oldest first. */
async function withDead(count: number): Promise<{ running: TestBridge; ids: string[] }> {
  const running = (bridge = await startBridge());
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const body = { to: `user:nobody${n}`, content: { type: "text", text: "?" } };
    const answer = await running.api("POST", "/v1/messages", body, { prefer: "wait=10" });
    const { id, status } = (await answer.json()) as { id: string; status: string };
    expect(status).toBe("dead");
    ids.push(id);
  }
  return { running, ids };
}

async function listed(args: string[], env: Record<string, string>): Promise<{ from: string; ids: string[] }> {
  const { stdout } = await cli(["dead-letters", "list", "--json", ...args], { env });
  const { from, deadLetters } = JSON.parse(stdout) as { from: string; deadLetters: DeadLetterView[] };
  return { from, ids: deadLetters.map(({ id }) => id) };
}

it("lists and shows them, of the running bridge", async () => {
  const { running, ids } = await withDead(2);
  const env = envOf(running);
  expect(await listed([], env)).toEqual({ from: running.url, ids: ids.toReversed() });
  expect(await listed(["--code", "too_old"], env)).toMatchObject({ ids: [] });
  expect(await listed(["--code", "recipient_unknown", "--account", "main"], env)).toMatchObject({
    ids: ids.toReversed(),
  });
  const table = await cli(["dead-letters"], { env });
  expect(table.stdout).toMatch(/^id +queue +account +code +since +detail\n/);
  expect(table.stdout).toMatch(
    new RegExp(`^${ids[1]} +outbox +main +recipient_unknown +\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d `, "m"),
  );
  const one = await cli(["dead-letters", "show", ids[0] ?? ""], { env });
  expect(one.stdout).toContain("because    recipient_unknown: ");
  expect(one.stdout).toContain(`dingtalk-bridge trace ${ids[0]}`);
  const none = await cli(["dead-letters", "show", "out_x"], { env });
  expect(none).toEqual({
    status: 1,
    stdout: "",
    stderr: 'dingtalk-bridge: there is no dead letter "out_x"\n  mend: dingtalk-bridge dead-letters list\n',
  });
});

it("lists those of the data directory when no bridge runs, and says so", async () => {
  const { running, ids } = await withDead(1);
  const copy = mkdtempSync(join(tmpdir(), "bridge-dead-"));
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }));
  await running.app.stop({ signal: AbortSignal.timeout(10_000) });
  cpSync(running.dataDir, copy, { recursive: true });
  const env = envOf({ url: `http://127.0.0.1:${await freePort()}`, dataDir: copy });
  expect(await listed([], env)).toEqual({ from: copy, ids });
  const { stderr, stdout } = await cli(["dead-letters"], { env });
  expect(stdout).toContain(ids[0]);
  expect(stderr).toMatch(/^no bridge answers at \S+: connection refused; reading /);
  const replay = await cli(["dead-letters", "replay", ids[0] ?? ""], { env });
  expect(replay).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining("dingtalk-bridge start") });
});

it("says where it looked when no bridge ever ran there", async () => {
  const env = envOf({ url: "http://127.0.0.1:1", dataDir: "/nonexistent" });
  const { status, stdout, stderr } = await cli(["dead-letters"], { env });
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr).toContain("there is no database in /nonexistent");
});

it("replays and discards them by id, or all of a code", async () => {
  const { running, ids } = await withDead(3);
  const env = envOf(running);
  const again = await cli(["dead-letters", "replay", ids[0] ?? "", "out_gone"], { env });
  expect(again.status).toBe(1);
  expect(again.stdout).toMatch(/^replayed: 1\nnot replayed: out_gone: there is no dead letter/);
  // It dies again: the person is still not there.
  await expect.poll(async () => (await listed([], env)).ids.length).toBe(3);
  expect(await cli(["dead-letters", "discard", ids[1] ?? ""], { env })).toMatchObject({
    status: 0,
    stdout: "discarded: 1\n",
  });
  expect(new Set((await listed([], env)).ids)).toEqual(new Set([ids[0], ids[2]]));
  const careful = await cli(["dead-letters", "discard", "--all"], { env });
  expect(careful).toMatchObject({ status: 64, stderr: expect.stringContaining("--yes") });
  const other = await cli(["dead-letters", "discard", "--all", "--yes", "--code", "too_old"], { env });
  expect(other).toMatchObject({ status: 0, stdout: "discarded: 0\n" });
  const all = await cli(["dead-letters", "discard", "--all", "--yes", "--json"], { env });
  expect(JSON.parse(all.stdout)).toEqual({ discarded: 2, failed: [] });
  expect((await cli(["dead-letters"], { env })).stdout).toBe("No dead letters.\n");
  expect(await cli(["dead-letters", "replay"], { env })).toMatchObject({ status: 64 });
});
