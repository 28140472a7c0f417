import type { ChannelPlugin } from "openclaw/plugin-sdk/channel-core";
import { senderOf } from "./allowlist.ts";
import { ownersOf } from "./command-senders.ts";

type Capability = NonNullable<ChannelPlugin["approvalCapability"]>;

const ENABLE = "openclaw config set approvals.exec.enabled true --strict-json";

/**
 * Who may answer `/approve`, and whether somebody can be asked in DingTalk at all. What needs an approval may run anything on the
 * gateway's machine, so only an owner decides; who wrote in the same conversation is no reason to trust them.
 */
export const approvalCapability: Capability = {
  authorizeActorAction: ({ cfg, senderId }) => {
    const owners = ownersOf(cfg).map(senderOf);
    if (senderId && owners.includes(senderId)) return { authorized: true };
    const reason = owners.length > 0 ? "Only an owner may approve." : `Nobody is owner yet. ${ownerHint(senderId)}`;
    return { authorized: false, reason: `❌ ${reason}` };
  },
  // Without forwarding OpenClaw asks nobody and waits for half an hour; told that nobody can be asked, it says so at once.
  getExecInitiatingSurfaceState: ({ cfg }) =>
    cfg.approvals?.exec?.enabled === true ? { kind: "enabled" } : { kind: "disabled" },
  describeExecApprovalSetup: () => `To be asked in DingTalk: \`${ENABLE}\``,
};

const ownerHint = (senderId: string | null | undefined): string =>
  senderId
    ? `The operator can run: openclaw config set commands.ownerAllowFrom '["dingtalk:${senderId}"]'`
    : "The operator can set commands.ownerAllowFrom.";
