/** The name under which the program is installed, and in which all its texts name its commands. */
export const PROGRAM = "dingtalk-bridge";

/** In front of a command's name, not of a version number or of a word like "dingtalk-bridge needs". */
const CALL =
  /\bdingtalk-bridge (?=(?:start|init|doctor|sandbox|config|trace|send|dead-letters|erase|token|plugin-path|quota)\b)/g;

/**
 * How the program is called where it runs now, so that a next step can be copied: `script` is what Node.js runs, `env` its
 * environment. A clone has no `dingtalk-bridge`, and after npx there is none either.
 */
export function programOf(script: string, env: Readonly<Record<string, string | undefined>>): string {
  if (script.endsWith(".ts")) return "npm exec -- node src/main.ts";
  return env["npm_command"] === "exec" && /[\\/]_npx[\\/]/.test(script) ? `npx ${PROGRAM}` : PROGRAM;
}

/** `text` with each call of the program as it has to be typed here. For the program's own texts, not for what people wrote. */
export const asTyped = (text: string, program: string): string =>
  program === PROGRAM ? text : text.replaceAll(CALL, () => `${program} `);
