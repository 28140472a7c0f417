import { randomUUID } from "node:crypto";
import { createChannelPairingController } from "openclaw/plugin-sdk/channel-pairing";
import type { PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Account, CHANNEL } from "./accounts.ts";
import { sendMessage } from "./bridge-client.ts";
import type { Bridge } from "./bridge-http.ts";
import type { PairingWatch } from "./pairing-watch.ts";
import { contentOf, lines } from "./text.ts";
import type { MessageEnvelope } from "./types.ts";

const HOUR_MS = 3_600_000;

export interface PairingQuestion {
  runtime: PluginRuntime;
  bridge: Bridge;
  envelope: MessageEnvelope;
  watch: PairingWatch;
}

type Controller = ReturnType<typeof createChannelPairingController>;

export const pairingOf = (runtime: PluginRuntime, account: Account): Controller =>
  createChannelPairingController({ core: runtime, channel: CHANNEL, accountId: account.accountId });

/**
 * Issues a pairing code, which `openclaw pairing approve dingtalk <CODE>` accepts, and says it to the person once. OpenClaw keeps three
 * requests per account for an hour; whoever comes then is told so, once an hour. Throws when the bridge does not take the answer; the
 * next try says it then.
 */
export async function askForPairing({ runtime, bridge, envelope, watch }: PairingQuestion): Promise<void> {
  const { account } = bridge;
  const { id, name } = envelope.message.sender;
  const waiting = await watch.find(account.accountId, id);
  const request = waiting?.request ?? randomUUID().slice(0, 8);
  const controller = pairingOf(runtime, account);
  const meta = { name, request };
  const idLine = lines(robotLine(account), `Your DingTalk user id: ${id}`);
  const sayCode = async (text: string): Promise<void> => {
    await watch.asked(account.accountId, { id, to: envelope.replyTo, request, isTold: false });
    await say({ bridge, envelope }, { text, key: `${envelope.id}/pairing/0` });
    await watch.asked(account.accountId, { id, to: envelope.replyTo, request, isTold: true });
  };
  const failures: unknown[] = [];
  const { created } = await controller.issueChallenge({
    senderId: id,
    senderIdLine: idLine,
    meta,
    sendPairingReply: sayCode,
    onReplyError: (error) => failures.push(error),
  });
  if (failures.length > 0) throw failures[0];
  if (created) return;
  // The challenge does not tell a code that is waiting from none: asking again does, and changes nothing.
  const { code } = await controller.upsertPairingRequest({ id, meta });
  if (code === "") await sayNoCode({ bridge, envelope, watch });
  else if (waiting?.isTold === false)
    await sayCode(runtime.channel.pairing.buildPairingReply({ channel: CHANNEL, idLine, code }));
}

async function sayNoCode({ bridge, envelope, watch }: Omit<PairingQuestion, "runtime">): Promise<void> {
  const { account } = bridge;
  const { id } = envelope.message.sender;
  if (!watch.mayRefuse(account.accountId, id)) return;
  const text = lines(
    "OpenClaw: access not configured, and no pairing code is left just now: too many people are waiting for approval.",
    robotLine(account),
    `Your DingTalk user id: ${id}`,
    "Ask the operator to go through the requests (openclaw pairing list dingtalk), then write again.",
  );
  // The hour is part of the key and the message it answers is not part of the body: a second one within the hour is the same message.
  const key = `pairing-full/${account.accountId}/${id}/${Math.floor(Date.now() / HOUR_MS)}`;
  await sendMessage(bridge, { message: { to: envelope.replyTo, content: contentOf(text) }, key });
  watch.refused(account.accountId, id);
}

async function say(
  { bridge, envelope }: Pick<PairingQuestion, "bridge" | "envelope">,
  { text, key }: { text: string; key: string },
): Promise<void> {
  const message = { to: envelope.replyTo, inReplyTo: envelope.id, content: contentOf(text) };
  await sendMessage(bridge, { message, key });
}

/** What a person reads who was approved. */
export const approvedText = (account: Account): string =>
  `✅ OpenClaw access approved${account.name === undefined ? "" : ` (${account.name})`}. Send a message to start chatting.`;

const robotLine = ({ name }: Account): string => (name === undefined ? "" : `Robot: ${name}`);
