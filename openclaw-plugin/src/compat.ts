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
  const mend = isOlder(version)
    ? "update OpenClaw (openclaw update)"
    : "update the plugin (openclaw plugins install --force <folder or tarball of the newest dingtalk-bridge>)";
  return (
    `OpenClaw ${version} has no ${missing.join(", ")}, which this plugin needs; ` +
    `the oldest OpenClaw that works is ${OLDEST_OPENCLAW}: ${mend}`
  );
}

function isOlder(version: string): boolean {
  const [own, oldest] = [version, OLDEST_OPENCLAW].map((one) => one.split(/[.-]/).map((part) => Number.parseInt(part)));
  const at = oldest!.findIndex((part, index) => part !== own![index]);
  return at >= 0 && !((own![at] ?? 0) > oldest![at]!);
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
  let isAdopted = false;
  const older = {
    agentId: route.agentId,
    routeSessionKey: route.sessionKey,
    storePath: session.resolveStorePath(cfg.session?.store, { agentId: route.agentId }),
    recordInboundSession: session.recordInboundSession,
    dispatchReplyWithBufferedBlockDispatcher: reply.dispatchReplyWithBufferedBlockDispatcher,
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

/** One message's place among the others. What overtakes (`/stop`) waits for nothing. */
interface Place {
  lane: string;
  overtakes: boolean;
  entry: Entry;
}

/**
 * On OpenClaw before 2026.8.1 the turns of a conversation run one after another, and a message is taken when its turn is over; until then the
 * bridge keeps it. There the answer of a turn waits for every younger turn of the same conversation, and is thrown away when a younger one is
 * answered first; on 2026.6.11 the younger one waits for the older one as well, so that neither ends. And a turn that a crash
 * interrupted is gone on with in the words of the next message at best. Newer ones do all this by themselves.
 */
export class Lanes {
  readonly #last = new Map<string, Promise<void>>();

  /** Runs the turn when nothing is before it. `turn` gets the entry to note in, and must not reject. */
  async run(runtime: PluginRuntime, place: Place, turn: (entry: Entry) => Promise<void>): Promise<void> {
    const { lane, overtakes, entry } = place;
    if (takesRoutes(runtime)) return await turn(entry);
    const held = heldUntilOver(entry, turn);
    if (overtakes) return await held();
    const mine = (this.#last.get(lane) ?? Promise.resolve()).then(held);
    this.#last.set(lane, mine);
    await mine;
    if (this.#last.get(lane) === mine) this.#last.delete(lane);
  }
}

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

/** From 2026.8.1 on a turn plan holds a route and OpenClaw finds the session by it; the same releases have this function. */
function takesRoutes(runtime: unknown): boolean {
  return typeof at(runtime, "channel.inbound.dispatch") === "function";
}

function at(root: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((value, key) => (isObject(value) ? value[key] : undefined), root);
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
