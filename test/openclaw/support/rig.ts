import type { SimulatedCard } from "../../../src/sandbox/dingtalk-card-types.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../../src/sandbox/dingtalk-simulator.ts";
import { Bridge } from "./bridge.ts";
import { type Said, saidIn } from "./chat.ts";
import { Gateway } from "./gateway.ts";
import { ModelServer } from "./model-server.ts";
import { Tap, type TappedCall } from "./tap.ts";

const APP = { appKey: "dingApp1", appSecret: "secret-of-app-1" };
const EVENTS = "POST /dingtalk/events";

export type QueueMode = "steer" | "followup";
export type Person = { from?: string; group?: string };

/** Everything from DingTalk to the model, with both directions between bridge and gateway on record. */
export class Rig {
  readonly model = new ModelServer();
  readonly sim: DingtalkSimulator;
  readonly gateway: Gateway;
  readonly bridge: Bridge;
  /** What the bridge says to the plugin. */
  readonly inbound: Tap;
  /** What the plugin says to the bridge. */
  readonly outbound: Tap;
  readonly #model: ModelServer;

  private constructor(parts: Pick<Rig, "model" | "sim" | "gateway" | "bridge" | "inbound" | "outbound">) {
    this.#model = parts.model;
    this.model = parts.model;
    this.sim = parts.sim;
    this.gateway = parts.gateway;
    this.bridge = parts.bridge;
    this.inbound = parts.inbound;
    this.outbound = parts.outbound;
  }

  static async start(groups: { conversationId: string; title: string }[], mode: QueueMode): Promise<Rig> {
    const model = new ModelServer();
    const [inbound, outbound] = [new Tap(), new Tap()];
    await Promise.all([model.start(), inbound.start(), outbound.start()]);
    const sim = await startDingtalkSimulator({ apps: [APP], groups });
    const gateway = await Gateway.create(model.url);
    inbound.target = gateway.url;
    await gateway.installPlugin();
    const bridge = await Bridge.start({ ...APP, dingtalkUrl: sim.url, gatewayUrl: inbound.url });
    outbound.target = bridge.url;
    await gateway.configure((config) => {
      config["channels"] = { dingtalk: { ...APP, bridgeUrl: outbound.url } };
      config["messages"] = { queue: { mode } };
    });
    await gateway.start();
    await sim.until("connected");
    return new Rig({ model, sim, gateway, bridge, inbound, outbound });
  }

  async stop(): Promise<void> {
    await this.bridge.stop();
    await this.gateway.remove();
    await this.#model.stop();
    await Promise.all([this.inbound.stop(), this.outbound.stop()]);
    await this.sim.close();
  }

  /** Somebody says it; returns the envelope's id. */
  async say(text: string, person: Person = {}): Promise<string> {
    const { msgId } = await this.sim.say({ ...person, text });
    return `main:${msgId}`;
  }

  get said(): Said[] {
    return saidIn(this.sim);
  }

  get texts(): string[] {
    return this.said.map(({ text }) => text);
  }

  card(words: string): SimulatedCard | undefined {
    return this.sim.cards.find((card) => textOf(card).includes(words));
  }

  /** Answers of the plugin to this envelope: status and decision, oldest first. */
  answers(id: string): { status: number; decision: unknown }[] {
    return this.inbound
      .of(EVENTS)
      .filter(({ body, status }) => body["id"] === id && status > 0)
      .map(({ status, answer }) => ({ status, decision: answer["decision"] }));
  }

  /** The message that a text went out as the answer to, as the plugin told the bridge. */
  answered(text: string): unknown {
    const texts = (call: TappedCall): unknown =>
      (call.body["content"] as { text?: unknown } | undefined)?.text ?? call.body["text"];
    return this.outbound.calls.findLast((call) => call.what.startsWith("POST") && texts(call) === text)?.body[
      "inReplyTo"
    ];
  }

  /** Streams that were opened and not finished, and messages that are still said to be worked on. */
  get loose(): { streams: unknown[]; working: unknown[] } {
    const opened = this.outbound
      .of("POST /v1/streams")
      .filter(({ what, status }) => what.endsWith("/streams") && status === 201);
    const finished = this.outbound.calls.filter(({ what, status }) => what.endsWith("/finish") && status < 300);
    const isFinished = (id: unknown): boolean => finished.some(({ what }) => what.includes(`/${String(id)}/`));
    const working = new Set<unknown>();
    for (const { body, status } of this.outbound.of("PUT /v1/activity")) {
      if (status !== 204) continue;
      if (body["state"] === "working") working.add(body["inReplyTo"]);
      else working.delete(body["inReplyTo"]);
    }
    return { streams: opened.map(({ answer }) => answer["id"]).filter((id) => !isFinished(id)), working: [...working] };
  }

  get log(): string {
    return `--- gateway\n${this.gateway.log.slice(-4_000)}\n--- bridge\n${this.bridge.log.slice(-4_000)}`;
  }
}

export const textOf = ({ content }: SimulatedCard): string => Object.values(content).join("\n");
