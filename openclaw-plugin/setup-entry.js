// As index.js: the entry of the folder as it is cloned; a packed plugin has dist/setup-entry.js in its place.
export { default } from "./src/setup-entry.ts";
