import { constants, existsSync } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Finding, fine } from "../domain/finding.ts";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { LifeReader } from "../queue/life.ts";
import { DATABASE } from "../queue/read-only.ts";
import { BACK } from "../queue/schema.ts";

/** Of package.json's `engines`. */
export const NODE_AT_LEAST = "24.16.0";
const MB = 1024 * 1024;

/** File systems over a network, by their magic number (statfs(2)): SQLite's locks and WAL do not hold there. */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0xff534d42, "SMB"],
  [0xfe534d42, "SMB"],
  [0x01021997, "9p"],
]);

export function checkNode(version: string): Finding {
  const parts = (text: string): number[] => text.replace(/^v/, "").split(".").map(Number);
  const [[a = 0, b = 0], [major = 0, minor = 0]] = [parts(version), parts(NODE_AT_LEAST)];
  if (a > major || (a === major && b >= minor)) return fine("node", `Node.js ${version.replace(/^v/, "")}`);
  return {
    check: "node",
    code: "node_too_old",
    level: "error",
    text: `Node.js ${version} is too old`,
    mend: `install Node.js ${NODE_AT_LEAST} or later: https://nodejs.org`,
  };
}

/** Looks at the data directory, or where it will be, and changes nothing. */
export async function checkDataDir(directory: string, minFreeMb: number, user: number | undefined): Promise<Finding[]> {
  const place = existing(directory);
  const isThere = place === directory;
  const wrong = (code: string, level: Finding["level"], text: string, mend: string): Finding => ({
    check: "data_dir",
    code,
    level,
    text,
    mend,
  });
  try {
    const found = await stat(place);
    if (!found.isDirectory()) throw new Error(`${place} is no directory`);
    await access(place, constants.W_OK | constants.X_OK);
    const { bavail, bsize, blocks, type } = await statfs(place);
    const freeMb = Math.floor((bavail * bsize) / MB);
    const findings: Finding[] = [];
    if (blocks > 0 && freeMb < minFreeMb) {
      const text = `${freeMb} MB are free on the disk of ${directory}, ${minFreeMb} MB should be`;
      const level = freeMb < minFreeMb / 2 ? "error" : "warning";
      findings.push(wrong("disk_low", level, text, "free space there, or change BRIDGE_DISK_MIN_FREE_MB"));
    }
    const network = NETWORK.get(type);
    if (network !== undefined) {
      const text = `${directory} is on a network file system (${network}): the database may be damaged there`;
      findings.push(wrong("data_dir_network", "warning", text, "give BRIDGE_DATA_DIR a local disk"));
    }
    if (isThere && user !== undefined && found.uid !== user) {
      const text = `${directory} belongs to another user (${found.uid}) than this one (${user})`;
      const mend = "run the bridge, and this command, as the user that owns it";
      findings.push(wrong("data_dir_owner", user === 0 ? "note" : "warning", text, mend));
    }
    if (isThere && (found.mode & 0o077) !== 0) {
      const text = `other users can look into ${directory}, where messages and reply webhooks are`;
      findings.push(wrong("data_dir_readable", "warning", text, `chmod 700 ${directory}`));
    }
    findings.push(...(await databaseFindings(directory)));
    if (findings.length > 0) return findings;
    const state = isThere ? "can be written" : "will be made";
    return [fine("data_dir", `${directory} ${state}; ${blocks > 0 ? `${freeMb} MB` : "room"} free`)];
  } catch (thrown) {
    const { message } = coerceError(thrown);
    const mend = "make BRIDGE_DATA_DIR a directory on a local disk that this user can write to";
    return [wrong("data_dir_unusable", "error", `${directory} cannot be used: ${message}`, mend)];
  }
}

/** What would refuse a start although the directory is as it should be: most often after a restore or a change of release. */
async function databaseFindings(directory: string): Promise<Finding[]> {
  const file = join(directory, DATABASE);
  if (!existsSync(file)) return [];
  try {
    await access(file, constants.R_OK | constants.W_OK);
    LifeReader.open(directory)?.[Symbol.dispose]();
    return [];
  } catch (thrown) {
    if (thrown instanceof BridgeError) {
      // A start migrates what is older.
      if (thrown.code !== "schema_newer") return [];
      return [{ check: "data_dir", code: thrown.code, level: "error", text: thrown.message, mend: BACK }];
    }
    const text = `${file} cannot be used: ${coerceError(thrown).message}`;
    const mend = `give everything in ${directory} to the user that runs the bridge: chown -R`;
    return [{ check: "data_dir", code: "data_dir_unusable", level: "error", text, mend }];
  }
}

/** The directory, or the nearest one above that exists. */
function existing(directory: string): string {
  return existsSync(directory) || dirname(directory) === directory ? directory : existing(dirname(directory));
}
