import type { FastifyInstance, FastifyReply } from "fastify";
import type { CardPress, SimulatedCard } from "./dingtalk-card-types.ts";
import { offeredFile, saidMessage, uploadedView, type WireMessage, type WireOffer } from "./dingtalk-media-control.ts";
import type { DingtalkSimulator } from "./dingtalk-simulator.ts";
import { eventNames, type EventName, type PushHandle, type TrackedPush } from "./dingtalk-types.ts";

/** What `POST /sim/push` takes: exactly one of the members. */
export interface ControlPush {
  frame?: object;
  /** Text frame, as it is. */
  text?: string;
  /** Binary frame. */
  base64?: string;
  system?: string;
  push?: TrackedPush;
  options?: { app?: string; connectionId?: string; all?: boolean; data?: unknown; bare?: boolean };
}

/** A handle as it travels. */
export type HandleView = Omit<PushHandle, "acked" | "copies"> & { copies: HandleView[] };

const view = (handle: PushHandle): HandleView => ({
  app: handle.app,
  msgId: handle.msgId,
  messageIds: handle.messageIds,
  body: handle.body,
  delivered: handle.delivered,
  reason: handle.reason,
  connectionId: handle.connectionId,
  copies: handle.copies.map(view),
});

const lists = [
  "sent",
  "cards",
  "reactions",
  "acks",
  "requests",
  "pushes",
  "connections",
  "allConnections",
  "problems",
] as const;
export type ListName = (typeof lists)[number];

/** A card with its newest update only: hundreds, many times over, would be megabytes. `/sim/card` has all. */
const short = <T>(record: T): T | SimulatedCard =>
  typeof record === "object" && record !== null && "updates" in record
    ? { ...(record as unknown as SimulatedCard), updates: (record as unknown as SimulatedCard).updates.slice(-1) }
    : record;

const bodyOf = (body: unknown): unknown =>
  Buffer.isBuffer(body) && body.length > 0 ? JSON.parse(body.toString("utf8")) : {};

/** The control API for other processes: `/sim/*`, JSON, loopback like the rest. */
export function serveControl(server: FastifyInstance, sim: DingtalkSimulator): void {
  const post = (path: string, run: (body: unknown) => unknown): void => {
    server.post(path, async (request, reply) => {
      try {
        return await run(bodyOf(request.body));
      } catch (error) {
        return reply.code(400).send({ error: error instanceof Error ? error.message : String(error) });
      }
    });
  };
  post("/sim/say", async (body) => view(await sim.say(saidMessage(body as WireMessage))));
  post("/sim/offer", (body) => sim.media.offer(offeredFile(body as WireOffer)));
  post("/sim/press", async (body) => view(await sim.press(body as CardPress)));
  post("/sim/push", async (body) => push(sim, body as ControlPush));
  post("/sim/knobs", (body) => {
    const entries = Object.entries(body as Record<string, unknown>);
    // JSON has no Infinity.
    sim.setKnobs(Object.fromEntries(entries.map(([key, value]) => [key, value ?? Number.POSITIVE_INFINITY])));
    return sim.knobs;
  });
  post("/sim/faults", (body) => {
    const { fault, args = [] } = body as { fault: string; args?: unknown[] };
    if (!Object.hasOwn(sim.faults, fault)) throw new Error(`no such fault: ${fault}`);
    const run = sim.faults[fault as keyof typeof sim.faults] as (...args: unknown[]) => unknown;
    return { result: run(...args) ?? null };
  });
  post("/sim/reset", () => {
    sim.reset();
    return {};
  });
  for (const name of lists) {
    server.get<{ Querystring: { since?: string; limit?: string } }>(`/sim/${name}`, async (request) => {
      const since = Number(request.query.since ?? 0);
      const limit = Number(request.query.limit ?? Number.POSITIVE_INFINITY);
      const items: readonly (string | { seq: number })[] = sim[name];
      return items
        .filter((item) => typeof item === "string" || item.seq > since)
        .slice(0, limit)
        .map(short);
    });
  }
  server.get<{ Querystring: { id?: string; app?: string } }>("/sim/card", async ({ query: { id = "", app } }) => ({
    card: sim.card(id, app) ?? null,
  }));
  server.get<{ Querystring: { since?: string } }>("/sim/uploaded", async ({ query: { since = "0" } }) =>
    sim.media.uploaded.filter(({ seq }) => seq > Number(since)).map(uploadedView),
  );
  server.get("/sim/usage", async () => sim.usage());
  server.get<{ Querystring: { only?: string } }>("/sim/events", (request, reply) => {
    const only = request.query.only?.split(",");
    stream(
      sim,
      reply,
      eventNames.filter((name) => !only || only.includes(name)),
    );
  });
}

async function push(sim: DingtalkSimulator, body: ControlPush): Promise<unknown> {
  const options = body.options ?? {};
  if (body.push) return view(await sim.push(body.push));
  if (body.system !== undefined) return { connectionIds: await sim.pushSystem(body.system, options) };
  const frame = body.frame ?? body.text ?? (body.base64 === undefined ? undefined : Buffer.from(body.base64, "base64"));
  if (frame === undefined) throw new Error("frame, text, base64, system or push is needed");
  return { connectionIds: await sim.pushFrame(frame, options) };
}

/** NDJSON: one `{ event, record }` a line, from now on, until the caller goes. */
function stream(sim: DingtalkSimulator, reply: FastifyReply, names: EventName[]): void {
  reply.hijack();
  reply.raw.writeHead(200, { "content-type": "application/x-ndjson" });
  reply.raw.flushHeaders();
  const listeners = names.map((event) => {
    const listener = (record: unknown): void => {
      reply.raw.write(`${JSON.stringify({ event, record: short(record) })}\n`);
    };
    sim.events.on(event, listener);
    return () => sim.events.off(event, listener);
  });
  reply.raw.on("close", () => {
    for (const off of listeners) off();
  });
}
