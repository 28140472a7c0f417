import { BridgeError } from "../app.ts";
import { coerceError } from "../domain/errors.ts";

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
