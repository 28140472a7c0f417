#!/usr/bin/env node
/**
 * What `dingtalk-bridge` runs. It imports nothing before it knows the Node.js: an older one would end at the first import
 * that it does not have, with a stack trace.
 */
/** sysexits(3) EX_CONFIG, as for every other thing that trying again does not mend. */
const UNFIT = 78;

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major > 24 || (major === 24 && minor >= 16)) await import("./main.ts");
else {
  process.stderr.write(
    `dingtalk-bridge needs Node.js 24.16 or later; this is ${process.versions.node} (${process.execPath}). ` +
      "Install a newer one, or let npm bring it along: npx -p node@24 -p dingtalk-bridge dingtalk-bridge\n",
  );
  process.exitCode = UNFIT;
}
