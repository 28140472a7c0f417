// The entry of the folder as it is cloned, without a build; a packed plugin has dist/index.js in its place (scripts/pack-plugin.ts).
export { default } from "./src/index.ts";
