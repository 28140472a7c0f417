import { BridgeError } from "../app.ts";
import { coerceError } from "../domain/errors.ts";
import { CommandError } from "./command.ts";

/** What `read` gives of the data directory; what SQLite throws becomes BridgeError `data_dir_unusable`. */
export function reading<T>(dataDir: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof BridgeError) throw thrown;
    const cause = coerceError(thrown);
    throw new BridgeError("data_dir_unusable", `${dataDir} cannot be read: ${cause.message}`, {
      cause,
      mend: "run the command as the user of the bridge, with the same BRIDGE_DATA_DIR",
    });
  }
}

/** For what has nothing to look at where no bridge ever ran: as a rule the directory is another one than was meant. */
export function noDatabase(dataDir: string): CommandError {
  return new CommandError(`there is no database in ${dataDir}: no bridge has run there`, {
    mend: "name its directory with --data-dir, or start one: dingtalk-bridge start",
  });
}
