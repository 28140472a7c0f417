/** The name under which the program is installed, and in which all its texts name its commands. */
export const PROGRAM = "dingtalk-bridge";

/** In front of a command's name, not of a version number or of a word like "dingtalk-bridge needs". */
const CALL =
  /\bdingtalk-bridge (?=(?:start|init|doctor|sandbox|config|trace|send|dead-letters|erase|token|plugin-path|quota)\b)/g;

/** npm's cache, from which npx runs what it has fetched. */
const FETCHED = /[\\/]_npx[\\/]/;

/**
 * How the program is called where it runs now, so that a next step can be copied: `script` is what `node` runs, both with their
 * paths. A clone has no `dingtalk-bridge`, and after npx there is none either.
 */
export function programOf(script: string, node: string): string {
  if (script.endsWith(".ts")) return "npm exec -- node src/main.ts";
  if (!FETCHED.test(script)) return PROGRAM;
  return FETCHED.test(node) ? `npx -p node@24 -p ${PROGRAM} ${PROGRAM}` : `npx ${PROGRAM}`;
}

/** `text` with each call of the program as it has to be typed here. For the program's own texts, not for what people wrote. */
export const asTyped = (text: string, program: string): string =>
  program === PROGRAM ? text : text.replaceAll(CALL, () => `${program} `);
