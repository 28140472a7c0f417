import { utimes } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import type { Entry } from "./ledger.ts";
import type { Route } from "./turn-context.ts";

/** The oldest release of OpenClaw that the tests pass on; the same as `openclaw.compat.pluginApi` in package.json. */
export const OLDEST_OPENCLAW = "2026.6.11";

/** What the plugin takes from the runtime that OpenClaw gives it, wherever a turn goes. */
const NEEDED = [
  "config.current",
  "state.resolveStateDir",
  "channel.routing.resolveAgentRoute",
  "channel.inbound.run",
  "channel.inbound.buildContext",
  "channel.text.hasControlCommand",
  "channel.pairing.readAllowFromStore",
  "channel.pairing.upsertPairingRequest",
  "channel.media.saveResponseMedia",
  "media.loadWebMedia",
] as const;

/** What the turn plan of OpenClaw before 2026.8.1 has to hold. */
const NEEDED_BY_OLDER_PLAN = [
  "channel.session.resolveStorePath",
  "channel.session.recordInboundSession",
  "channel.reply.dispatchReplyWithBufferedBlockDispatcher",
] as const;

/**
 * Why the plugin cannot run in this OpenClaw, in one line that names what is missing and the mend. Undefined when nothing is missing.
 * Releases from 2026.5 on keep the plugin out by themselves when they are older than package.json allows.
 */
export function misfit(runtime: unknown): string | undefined {
  const needed = takesRoutes(runtime) ? NEEDED : [...NEEDED, ...NEEDED_BY_OLDER_PLAN];
  const missing = needed.filter((path) => typeof at(runtime, path) !== "function");
  if (missing.length === 0) return undefined;
  const version = String(at(runtime, "version") ?? "of an unknown version");
  const mend = isBefore(version, OLDEST_OPENCLAW)
    ? "update OpenClaw (openclaw update)"
    : "update the plugin (openclaw plugins install --force <folder or tarball of the newest dingtalk-bridge>)";
  return (
    `OpenClaw ${version} has no ${missing.join(", ")}, which this plugin needs; ` +
    `the oldest OpenClaw that works is ${OLDEST_OPENCLAW}: ${mend}`
  );
}

function isBefore(version: string, limit: string): boolean {
  const [own, other] = [version, limit].map((one) => one.split(/[.-]/).map((part) => Number.parseInt(part)));
  const at = other!.findIndex((part, index) => part !== own![index]);
  return at >= 0 && !((own![at] ?? 0) > other![at]!);
}

type Run = PluginRuntime["channel"]["inbound"]["run"];

/** The part of `Run`'s parameters that the older turn plan is made from. */
interface Inbound {
  adapter: { resolveTurn: (...args: never[]) => unknown };
  turnAdoptionLifecycle?: { onAdopted: () => unknown };
}

interface Plan {
  cfg: OpenClawConfig;
  route: Route;
  replyOptions?: { onAgentRunStart?: (runId: string) => unknown };
}

/** `runtime.channel.inbound.run`, which on OpenClaw before 2026.8.1 gets the turn plan that it wants. */
export function inboundRun(runtime: PluginRuntime): Run {
  const { run } = runtime.channel.inbound;
  if (takesRoutes(runtime)) return run;
  const older = (params: Inbound): unknown => {
    const { adapter, turnAdoptionLifecycle } = params;
    const resolveTurn = async (...args: never[]): Promise<Plan> =>
      olderPlan(runtime, (await adapter.resolveTurn(...args)) as Plan, () => turnAdoptionLifecycle?.onAdopted());
    return (run as (older: Inbound) => unknown)({ ...params, adapter: { ...adapter, resolveTurn } });
  };
  return older as Run;
}

/** The older plan names the session's place itself and knows no `turnAdoptionLifecycle`; that a run starts is all it tells. */
function olderPlan(runtime: PluginRuntime, plan: Plan, onAdopted: () => unknown): Plan {
  const { session, reply } = runtime.channel;
  const { cfg, route, replyOptions } = plan;
  const storePath = session.resolveStorePath(cfg.session?.store, { agentId: route.agentId });
  const { dispatchReplyWithBufferedBlockDispatcher } = reply;
  const { recordInboundSession } = session;
  const calls = { recordInboundSession, dispatchReplyWithBufferedBlockDispatcher };
  let isAdopted = false;
  const older = {
    agentId: route.agentId,
    routeSessionKey: route.sessionKey,
    storePath,
    ...(isBefore(runtime.version, "2026.7.0") ? withFreshStore(calls, storePath) : calls),
    replyOptions: {
      ...replyOptions,
      onAgentRunStart: (runId: string): void => {
        replyOptions?.onAgentRunStart?.(runId);
        // Told again when another model is tried.
        if (!isAdopted) onAdopted();
        isAdopted = true;
      },
    },
  };
  return { ...plan, ...older };
}

interface StoreCalls {
  recordInboundSession: PluginRuntime["channel"]["session"]["recordInboundSession"];
  dispatchReplyWithBufferedBlockDispatcher: PluginRuntime["channel"]["reply"]["dispatchReplyWithBufferedBlockDispatcher"];
}

/**
 * OpenClaw before 2026.7 compares a session on disk with the same session in its memory before it answers. After some messages, or `/new`,
 * it finds them different and refuses whatever comes in that session (openclaw/openclaw#98672). A file that looks changed is read again,
 * unless something is written meanwhile: what is noted of a message in a group is written beside the turn, so that is waited for.
 */
function withFreshStore(calls: StoreCalls, storePath: string): StoreCalls {
  const notes: Promise<unknown>[] = [];
  return {
    recordInboundSession: async (params) =>
      await calls.recordInboundSession({ ...params, trackSessionMetaTask: (note) => void notes.push(note) }),
    dispatchReplyWithBufferedBlockDispatcher: async (params) => {
      await Promise.allSettled(notes);
      const now = new Date();
      // There is no file before the first message.
      await utimes(storePath, now, now).catch(() => undefined);
      return await calls.dispatchReplyWithBufferedBlockDispatcher(params);
    },
  };
}

/**
 * A second or two after it has started its channels, OpenClaw goes on with what a crash had cut off. Before that it refuses messages of such
 * a session, and 2026.8 leaves out a session that is just refusing one: then it refuses all of them until its next start.
 */
const RECOVERY_MS = 10_000;

/** One message's place among the others. What overtakes (`/stop`) waits for no other. */
interface Place {
  lane: string;
  overtakes: boolean;
  entry: Entry;
}

/**
 * On OpenClaw before 2026.9 the turns of a conversation run one after another. 2026.8 drops whatever comes while a run is being stopped,
 * takes it for a duplicate when it comes again, and does not say which message an answer belongs to that had to wait.
 *
 * Before 2026.8.1 a message is also taken only when its turn is over; until then the bridge keeps it. There the answer of a turn waits for
 * every younger turn of the same conversation, and is thrown away when a younger one is answered first; on 2026.6.11 the younger one
 * waits for the older one as well, so that neither ends. And a turn that a crash interrupted is gone on with in the words of the next
 * message at best. Newer ones do all this by themselves.
 */
export class Lanes {
  readonly #last = new Map<string, Promise<void>>();
  readonly #recoveryMs: number;
  #recovered: Promise<void> | undefined;

  constructor(recoveryMs = RECOVERY_MS) {
    this.#recoveryMs = recoveryMs;
  }

  /** A channel starts; the first one does when OpenClaw does. */
  begin(): void {
    this.#recovered ??= sleep(this.#recoveryMs, undefined, { ref: false });
  }

  /** Runs the turn when nothing is before it. `turn` gets the entry to note in, and must not reject. */
  async run(runtime: PluginRuntime, place: Place, turn: (entry: Entry) => Promise<void>): Promise<void> {
    const { lane, overtakes, entry } = place;
    if (ordersTurns(runtime)) return await turn(entry);
    const recovered = async (): Promise<void> => {
      await this.#recovered;
      await turn(entry);
    };
    const held = takesRoutes(runtime) ? recovered : heldUntilOver(entry, turn);
    if (overtakes) return await held();
    const mine = (this.#last.get(lane) ?? Promise.resolve()).then(held);
    this.#last.set(lane, mine);
    await mine;
    if (this.#last.get(lane) === mine) this.#last.delete(lane);
  }
}

/** Where turns run one after another, and OpenClaw answers a command beside a run all the same. */
export const commandsOvertake = (runtime: PluginRuntime): boolean => takesRoutes(runtime) && !ordersTurns(runtime);

/** The turn reads and notes as ever; what it notes as taken is told when it is over. */
function heldUntilOver(entry: Entry, turn: (entry: Entry) => Promise<void>): () => Promise<void> {
  const own = Object.create(entry) as Entry;
  own.standing = undefined;
  own.note = (standing) => {
    if (own.standing?.kind === "taken" || own.standing?.kind === "failed") return;
    own.standing = standing;
    if (standing.kind !== "taken") entry.note(standing);
  };
  return async () => {
    await turn(own);
    if (own.standing?.kind === "taken") entry.note(own.standing);
  };
}

/** Whether OpenClaw can be given several messages of a conversation at a time. */
function ordersTurns(runtime: PluginRuntime): boolean {
  return takesRoutes(runtime) && !isBefore(runtime.version, "2026.9.0");
}

/** Before 2026.8.1 a channel's warnings are plain texts. OpenClaw gives no runtime to look at in the command that asks for them. */
export async function takesFindings(): Promise<boolean> {
  try {
    // Came with the same release.
    const { createChannelDmPolicy } = await import("openclaw/plugin-sdk/channel-dm-policy");
    return typeof createChannelDmPolicy === "function";
  } catch {
    return false;
  }
}

/** From 2026.8.1 on a turn plan holds a route and OpenClaw finds the session by it; the same releases have this function. */
function takesRoutes(runtime: unknown): boolean {
  return typeof at(runtime, "channel.inbound.dispatch") === "function";
}

function at(root: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((value, key) => (isObject(value) ? value[key] : undefined), root);
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
