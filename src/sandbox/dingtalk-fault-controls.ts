import type { Delivery } from "./dingtalk-delivery.ts";
import type { ApiFault, ConnectFault, FaultPlan } from "./dingtalk-faults.ts";
import type { CloseHow, SimulatorKnobs } from "./dingtalk-knobs.ts";
import type { Limits } from "./dingtalk-limits.ts";
import type { Media } from "./dingtalk-media.ts";
import type { ConnectionChoice, DisconnectOptions } from "./dingtalk-types.ts";
import type { World } from "./dingtalk-world.ts";

/** Everything that can be made to go wrong. Choices without id or app concern all live connections. */
export interface Faults {
  /** connections/open; the same as `api("connections/open", …)`. */
  open(fault: ApiFault): void;
  /** The WebSocket upgrade. */
  connect(fault: ConnectFault): void;
  /** Any API by the name in the records, or "*". */
  api(name: string, fault: ApiFault): void;
  /** Reads and answers nothing, TCP open. Returns the number of connections. */
  halfOpen(choice?: string | ConnectionChoice): number;
  /** Answers WebSocket pings, sends nothing. */
  zombie(choice?: string | ConnectionChoice): number;
  /** Ends without notice; default a TCP reset. */
  abort(choice?: string | ConnectionChoice, how?: CloseHow): number;
  /** The announced end. */
  disconnect(options?: DisconnectOptions): number;
  /** A share (default half) of the pushes goes to a connection that is closed already. */
  stale(options: { app?: string; forMs: number; share?: number }): void;
  /** The first pushes after the next reconnect are lost for good. */
  loseFirst(count?: number, app?: string): void;
  /** The next `count` pushes come again although acked. */
  duplicateAcked(count?: number, afterMs?: number): void;
  expireTokens(app?: string): void;
  expireWebhooks(): void;
  /** Download codes and the addresses behind them become invalid at once. */
  expireDownloads(): void;
  /** A media id becomes invalid, or all of them; returns how many. */
  forgetMedia(mediaId?: string): number;
  /** The source address is blocked for all APIs. */
  blockIp(forMs?: number): void;
  /** Uses up the month's budget of an app's organisation. Changes the knobs. */
  exhaust(what: "calls" | "units", app?: string): void;
  /** Ends all planned faults, blocks and windows; connections keep their mode. */
  clear(): void;
}

interface FaultDeps {
  plan: FaultPlan;
  delivery: Delivery;
  world: World;
  limits: Limits;
  media: Media;
  knobs: SimulatorKnobs;
}

export function makeFaults({ plan, delivery, world, limits, media, knobs }: FaultDeps): Faults {
  const { connections } = delivery;
  const chosen = (choice: string | ConnectionChoice | undefined): ConnectionChoice =>
    typeof choice === "string" ? { connectionId: choice } : (choice ?? {});
  return {
    open: (fault) => plan.planApi("connections/open", fault),
    connect: (fault) => plan.planConnect(fault),
    api: (name, fault) => plan.planApi(name, fault),
    halfOpen(choice) {
      const live = connections.live(chosen(choice));
      for (const connection of live) connection.halfOpen();
      return live.length;
    },
    zombie(choice) {
      const live = connections.live(chosen(choice));
      for (const connection of live) connection.zombie();
      return live.length;
    },
    abort: (choice, how = "rst") => connections.abort(chosen(choice), how),
    disconnect(options = {}) {
      const live = connections.live(options);
      for (const connection of live) connection.disconnect(options);
      return live.length;
    },
    stale: ({ app, forMs, share = 0.5 }) => connections.haunt(world.app(app), forMs, share),
    loseFirst: (count = 1, app) => connections.loseFirst(world.app(app), count),
    duplicateAcked: (count = 1, afterMs = 0) => delivery.duplicateAcked(count, afterMs),
    expireTokens: (app) => world.expireTokens(app === undefined ? undefined : world.app(app)),
    expireWebhooks: () => world.expireSessions(),
    expireDownloads: () => media.expireDownloads(),
    forgetMedia: (mediaId) => media.forget(mediaId),
    blockIp: (forMs = knobs.ipBlockMs) => limits.blockIp(forMs),
    exhaust(what, app) {
      const usage = world.usage(world.app(app).corpId);
      if (what === "calls") knobs.monthlyCalls = Math.min(knobs.monthlyCalls, usage.calls);
      else knobs.monthlyUnits = Math.min(knobs.monthlyUnits, usage.units);
    },
    clear() {
      plan.clear();
      limits.clear();
      delivery.clearFaults();
    },
  };
}
