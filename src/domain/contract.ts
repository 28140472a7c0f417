/** Version of what bridge and gateway say to each other (docs/gateway-contract.md). It grows by optional fields without a new number. */
export const CONTRACT = 1;

/** Header in which each side names its version, in requests of both directions and in the bridge's answers. */
export const CONTRACT_HEADER = "x-bridge-contract";

export const CONTRACT_MEND = "install the plugin that came with this bridge";
