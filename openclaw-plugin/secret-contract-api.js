// OpenClaw looks for a file of this name; a packed plugin has dist/secret-contract-api.js in its place.
export * from "./src/secret-contract-api.ts";
