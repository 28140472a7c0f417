import type { OpenClawConfig, PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Access, decideAccess } from "./access.ts";
import { CHANNEL, type Environment, resolveAccount } from "./accounts.ts";
import type { Bridge, Log, Traffic } from "./bridge-http.ts";
import { type Lanes, commandsOvertake } from "./compat.ts";
import { DecisionLog } from "./decision-log.ts";
import type { Guard } from "./guard.ts";
import { withGroupAgent } from "./groups.ts";
import type { Delivery, Hub } from "./hub.ts";
import type { Entry } from "./ledger.ts";
import type { Mailbox } from "./mailbox.ts";
import { Order } from "./order.ts";
import { askForPairing } from "./pairing.ts";
import type { PairingWatch } from "./pairing-watch.ts";
import { loadStopWords } from "./stop-words.ts";
import { Turn, type TurnContext } from "./turn.ts";

export interface TurnsContext {
  hub: Pick<Hub, "ledger" | "sessions">;
  runtime: PluginRuntime;
  lanes: Lanes;
  /** As it is now: a policy that was tightened holds for the next message, not only when the channel has restarted. */
  config: () => OpenClawConfig;
  accountId: string;
  env: Environment;
  userAgent: string;
  log: Log;
  guard: Pick<Guard, "watch" | "admitted">;
  /** Told of everything that comes in or goes out. */
  traffic?: Traffic & { received(): void };
}

/**
 * Takes envelopes out of the mailbox until it is closed. Messages of one conversation are handed to OpenClaw one after
 * another, each when OpenClaw has said where the one before it stands; conversations do not wait for one another. Who asks to stop does
 * not wait either, and takes back what of his OpenClaw has not begun.
 */
export async function runTurns(context: TurnsContext, mailbox: Mailbox<Delivery>, signal: AbortSignal): Promise<void> {
  const order = new Order();
  const isStop = await loadStopWords();
  for await (const delivery of mailbox) {
    const { entry, envelope } = delivery;
    context.traffic?.received();
    const decisions = new DecisionLog(context.log, { accountId: context.accountId, envelope }, entry);
    const conversation = envelope.message.conversation.id;
    const stops = isStop(envelope.message.text);
    if (stops) context.hub.ledger.stop(entry);
    const overtakes = stops || isCommandBeside(context, envelope.message.text);
    const before = order.enter(conversation, entry, overtakes);
    const turn = async (own: Entry): Promise<void> => {
      await before;
      if (signal.aborted) own.note({ kind: "failed", reason: "the channel stopped" });
      else if (!own.stopped.aborted) await runTurn(context, { envelope, entry: own, stops, decisions });
    };
    // Owned by its entry: whatever happens to the turn ends in `note`, and the bridge hears of it.
    const lane = `${context.accountId} ${conversation}`;
    const place = { lane, overtakes, entry };
    void context.lanes.run(context.runtime, place, turn);
  }
}

function isCommandBeside({ runtime, config }: TurnsContext, text: string): boolean {
  return commandsOvertake(runtime) && text.startsWith("/") && runtime.channel.text.hasControlCommand(text, config());
}

/** One message: decide who may speak, dispatch, and note how far it came. Never rejects. */
async function runTurn(
  { hub, runtime, config, accountId, env, userAgent, log, guard, traffic }: TurnsContext,
  { envelope, entry, stops, decisions }: Delivery & { stops: boolean; decisions: DecisionLog },
): Promise<void> {
  try {
    const cfg = config();
    const account = resolveAccount(cfg, accountId, env);
    const bridge: Bridge = { account, userAgent, log, traffic };
    const context: TurnContext = { cfg, runtime, sessions: hub.sessions, bridge };
    const { conversation, sender } = envelope.message;
    const route = runtime.channel.routing.resolveAgentRoute({
      cfg: withGroupAgent(cfg, account, conversation),
      channel: CHANNEL,
      accountId,
      peer: { kind: conversation.kind, id: conversation.kind === "group" ? conversation.id : sender.id },
    });
    const access = await decideAccess({ cfg, runtime, account, envelope, stops, route });
    if (access.kind !== "allowed") return await turnAway(context, access, { envelope, entry, watch: guard.watch });
    decisions.admitted(access.reason);
    if (conversation.kind === "direct") guard.admitted(route, sender.id);
    await new Turn(context, { envelope, entry, stops }).run(route, access);
    // A command that OpenClaw answers by itself, or a message it knew already, has no turn to adopt.
    if (!entry.standing) entry.note({ kind: "taken", decision: { decision: "accepted" } });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (!entry.stopped.aborted) log.error(`dingtalk: the turn of message ${envelope.id} failed: ${reason}`);
    entry.note({ kind: "failed", reason });
  }
}

async function turnAway(
  { runtime, bridge }: TurnContext,
  { kind, reason }: Exclude<Access, { kind: "allowed" }>,
  { envelope, entry, watch }: Delivery & { watch: PairingWatch },
): Promise<void> {
  if (kind === "pairing") await askForPairing({ runtime, bridge, envelope, watch });
  entry.note({ kind: "taken", decision: { decision: kind, reason: `${kind}: ${reason}` } });
}
