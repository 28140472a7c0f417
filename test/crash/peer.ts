/**
 * One simulator as a process of its own, so that it can be killed: `node test/crash/peer.ts dingtalk|gateway JOURNAL`,
 * started by peers.ts, which speaks to it over the IPC channel. Everything it sees is written to JOURNAL before it
 * goes on, so that a kill forgets nothing that the other side knows.
 */
import { openSync, readFileSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import type { SimulatorOptions } from "../../src/sandbox/dingtalk-types.ts";
import {
  type GatewayMode,
  type GatewaySimulatorOptions,
  startGatewaySimulator,
} from "../../src/sandbox/gateway-simulator.ts";
import type { Entry } from "./ledger.ts";
import { servePeer } from "./peer-channel.ts";
import { type Utterance, observeCards, observeDingtalk, observeGateway, scriptedReply } from "./observe.ts";
import { type Driving, StreamDriver, leftoversIn } from "./stream-driver.ts";
import { type StreamEntry, isStreamEntry } from "./stream-entries.ts";

/** How people write: so many a second, over so many conversations, every second one of which is a group. */
export interface Writing {
  /** Makes the texts of this writing unique. */
  prefix: string;
  perSecond: number;
  conversations: number;
}

const journal = process.argv[3] ?? "";
const file = openSync(journal, "a");
const add = (entry: Entry | StreamEntry): void => {
  writeSync(file, `${JSON.stringify(entry)}\n`);
};

async function dingtalkPeer(options: SimulatorOptions) {
  const dingtalk = await startDingtalkSimulator(options);
  const say = observeDingtalk(dingtalk, add);
  observeCards(dingtalk, add);
  let writing: AbortController | undefined;
  dingtalk.events.on("connected", () => process.send?.({ event: "connected" }));
  return {
    say: (said: Utterance) => say(said),
    write: (how: Writing) => {
      writing = new AbortController();
      void write(how, say, writing.signal);
    },
    hush: () => writing?.abort(),
    fault: (name: keyof typeof dingtalk.faults, ...args: unknown[]) =>
      (dingtalk.faults[name] as (...args: unknown[]) => unknown)(...args),
    problems: () => dingtalk.problems,
    live: () => dingtalk.connections.length,
    attempts: () => dingtalk.allConnections.length,
  };
}

async function write(how: Writing, say: (said: Utterance) => Promise<void>, signal: AbortSignal): Promise<void> {
  const began = performance.now();
  for (let n = 0; !signal.aborted; n += 1) {
    const due = began + (n * 1_000) / how.perSecond;
    await delay(Math.max(0, due - performance.now()));
    await say(speech(how, n));
  }
}

function speech({ prefix, conversations }: Writing, n: number): Utterance {
  const lane = n % conversations;
  const text = `${prefix}-${n}`;
  const from = `staff${String(1 + lane).padStart(3, "0")}`;
  return lane % 2 === 0 ? { from, text } : { from, text, group: `组${lane}` };
}

async function gatewayPeer(options: GatewaySimulatorOptions & { errorRate?: number }) {
  const gateway = await startGatewaySimulator({
    ...options,
    reply: scriptedReply,
    ...(options.mode && { mode: uneven(options.mode) }),
  });
  gateway.errorRate = options.errorRate ?? 0;
  observeGateway(gateway, add);
  let driver: StreamDriver | undefined;
  return {
    /** Opens streams until `hush`; those of an earlier life are taken up. */
    stream: (driving: Driving) => {
      const leftovers = leftoversIn(readFileSync(journal, "utf8").split("\n").flatMap(streamEntry));
      driver = new StreamDriver(driving, add);
      driver.begin(leftovers);
    },
    /** Resolves when every stream has come to its planned end. */
    hush: () => driver?.end(),
    mode: (mode: GatewayMode) => {
      gateway.mode = uneven(mode);
    },
    unfinished: () => gateway.unfinished,
  };
}

/** The last line may be half written. */
function streamEntry(line: string): StreamEntry[] {
  if (!line.endsWith("}")) return [];
  const entry = JSON.parse(line) as Entry | StreamEntry;
  return isStreamEntry(entry) ? [entry] : [];
}

/** Turns of any length up to twice the given one: of even ones at an even rate nobody would ever have to wait. */
function uneven(mode: GatewayMode): GatewayMode {
  if (mode.kind !== "turns" || typeof mode.turnMs !== "number") return mode;
  const mean = mode.turnMs;
  return { ...mode, turnMs: () => Math.random() * 2 * mean };
}

servePeer({ dingtalk: dingtalkPeer, gateway: gatewayPeer });
