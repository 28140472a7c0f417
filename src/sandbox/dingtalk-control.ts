import { request as httpRequest, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import type { CardPress, SimulatedCard } from "./dingtalk-card-types.ts";
import type { ControlPush, HandleView, ListName } from "./dingtalk-control-routes.ts";
import type { Faults } from "./dingtalk-fault-controls.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import { wireMessage, type UploadedView } from "./dingtalk-media-control.ts";
import type { DingtalkSimulator } from "./dingtalk-simulator.ts";
import type { EventMap, EventName, OfferedFile, SaidMessage } from "./dingtalk-types.ts";
import type { Usage } from "./dingtalk-world.ts";

/** One line of `/sim/events`. */
export type ControlEvent = { [E in EventName]: { event: E; record: EventMap[E] } }[EventName];

/** A simulator in another process. Keeps no connection open between calls. */
export interface SimulatorControl {
  say(message: SaidMessage): Promise<HandleView>;
  /** A file behind a download code. */
  offer(file: OfferedFile & { data: Buffer }): Promise<{ downloadCode: string }>;
  /** What was uploaded since the given `seq`. */
  uploaded(since?: number): Promise<UploadedView[]>;
  push(push: ControlPush): Promise<unknown>;
  press(press: CardPress): Promise<HandleView>;
  setKnobs(knobs: Partial<SimulatorKnobs>): Promise<SimulatorKnobs>;
  /** `fault("api", "sendBySession", { kind: "reset" })`. Returns what the fault returned. */
  fault<F extends keyof Faults>(fault: F, ...args: Parameters<Faults[F]>): Promise<unknown>;
  reset(): Promise<void>;
  /** A record list; `since` is the `seq` of the last entry already seen. */
  list<L extends ListName>(name: L, since?: number): Promise<DingtalkSimulator[L]>;
  /** With all its updates; lists and events carry the newest only. */
  card(outTrackId: string): Promise<SimulatedCard | undefined>;
  usage(): Promise<Usage>;
  /** Calls back for every event from now on; resolves when listening. Returns the end of it. */
  watch(listener: (event: ControlEvent) => void, only?: EventName[]): Promise<() => void>;
}

/** Speaks to the control API of a simulator. `url` is its base; calls reject on an error answer, with the reason. */
export function controlSimulator(url: string): SimulatorControl {
  const post = (path: string, body: unknown): Promise<unknown> => call(url, "POST", path, body);
  return {
    say: async (message) => (await post("/sim/say", wireMessage(message))) as HandleView,
    offer: async ({ data, ...more }) =>
      (await post("/sim/offer", { ...more, base64: data.toString("base64") })) as { downloadCode: string },
    uploaded: async (since = 0) => (await call(url, "GET", `/sim/uploaded?since=${since}`)) as UploadedView[],
    push: (push) => post("/sim/push", push),
    press: async (press) => (await post("/sim/press", press)) as HandleView,
    // JSON has no Infinity: null stands for it.
    setKnobs: async (knobs) => (await post("/sim/knobs", knobs)) as SimulatorKnobs,
    async fault(fault, ...args) {
      const answer = (await post("/sim/faults", { fault, args })) as { result: unknown };
      return answer.result;
    },
    async reset() {
      await post("/sim/reset", {});
    },
    list: async (name, since = 0) =>
      (await call(url, "GET", `/sim/${name}?since=${since}`)) as DingtalkSimulator[typeof name],
    async card(outTrackId) {
      const answer = (await call(url, "GET", `/sim/card?id=${encodeURIComponent(outTrackId)}`)) as {
        card: SimulatedCard | null;
      };
      return answer.card ?? undefined;
    },
    usage: async () => (await call(url, "GET", "/sim/usage")) as Usage,
    watch: (listener, only) => watch(url, listener, only),
  };
}

function send(url: string, method: string, path: string, body?: unknown): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url + path, { method, agent: false, headers: { "content-type": "application/json" } });
    request.on("response", resolve);
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function call(url: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await send(url, method, path, body);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  if (response.statusCode !== 200) throw new Error(`simulator: ${method} ${path}: ${response.statusCode} ${text}`);
  return JSON.parse(text);
}

async function watch(url: string, listener: (event: ControlEvent) => void, only?: EventName[]): Promise<() => void> {
  const response = await send(url, "GET", `/sim/events${only ? `?only=${only.join(",")}` : ""}`);
  // Ends with the simulator: a cut stream is the normal end of it.
  response.on("error", () => response.destroy());
  const lines = createInterface({ input: response });
  lines.on("line", (line) => listener(JSON.parse(line) as ControlEvent));
  lines.on("error", () => lines.close());
  return () => {
    lines.close();
    response.destroy();
  };
}
