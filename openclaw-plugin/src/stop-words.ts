/** The words that OpenClaw stops a run for, as far as this plugin knows them by itself. */
const KNOWN = /^(?:\/?(?:stop|abort|esc|exit|interrupt|halt)|停止|停下来|暂停)[.!?！？…,，。;；:：]*$/i;

/**
 * Tells whether a whole message asks to stop. OpenClaw's own list where its SDK has it: the subpath is not there in every release.
 */
export async function loadStopWords(): Promise<(text: string) => boolean> {
  const isKnown = (text: string): boolean => KNOWN.test(text.trim());
  try {
    const { isAbortRequestText } = await import("openclaw/plugin-sdk/command-primitives-runtime");
    return (text) => isKnown(text) || isAbortRequestText(text);
  } catch {
    return isKnown;
  }
}
