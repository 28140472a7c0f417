import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { HEAD_BYTES } from "./media-type.ts";

/** Small chunks are gathered: a write each would be a thread-pool job for every packet of the network. */
const BUFFER_BYTES = 64 * 1024;

export interface Written {
  bytes: number;
  /** Hexadecimal. */
  sha256: string;
  /** The first HEAD_BYTES, or all there is. */
  head: Buffer;
}

/** Writes a stream of bytes into one file, counting, hashing and keeping the first of them. */
export class MediaWriter {
  readonly #handle: FileHandle;
  readonly #maxBytes: number;
  readonly #hash = createHash("sha256");
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #buffered = 0;
  readonly #head = Buffer.allocUnsafeSlow(HEAD_BYTES);
  #bytes = 0;

  constructor(handle: FileHandle, maxBytes: number) {
    this.#handle = handle;
    this.#maxBytes = maxBytes;
  }

  /** Throws BridgeError `media_too_large` without writing what is beyond, `disk_low`, `store_unavailable`. */
  async write(chunk: Uint8Array): Promise<void> {
    const offset = this.#bytes;
    this.#bytes += chunk.byteLength;
    if (this.#bytes > this.#maxBytes) {
      throw new BridgeError("media_too_large", `the file is larger than ${this.#maxBytes} bytes`);
    }
    this.#hash.update(chunk);
    if (offset < HEAD_BYTES) this.#head.set(chunk.subarray(0, HEAD_BYTES - offset), offset);
    if (this.#buffered + chunk.byteLength > BUFFER_BYTES) await this.#flush();
    if (chunk.byteLength > BUFFER_BYTES) return this.#put(chunk);
    this.#buffer.set(chunk, this.#buffered);
    this.#buffered += chunk.byteLength;
  }

  /** What was written is on disk then. Throws as `write`, and BridgeError `media_empty`. */
  async end(): Promise<Written> {
    if (this.#bytes === 0) throw new BridgeError("media_empty", "the file has no bytes");
    await this.#flush();
    await inStore(() => this.#handle.sync());
    return { bytes: this.#bytes, sha256: this.#hash.digest("hex"), head: this.#head.subarray(0, this.#bytes) };
  }

  async #flush(): Promise<void> {
    const length = this.#buffered;
    this.#buffered = 0;
    await this.#put(this.#buffer.subarray(0, length));
  }

  async #put(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength;) {
      const { bytesWritten } = await inStore(() => this.#handle.write(bytes, at));
      at += bytesWritten;
    }
  }
}

const NO_ROOM = new Set(["ENOSPC", "EDQUOT"]);

/** Runs work on the media directory; what the file system throws becomes `disk_low` or `store_unavailable`. */
export async function inStore<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const cause = coerceError(thrown);
    const system = "code" in cause && typeof cause.code === "string" ? cause.code : cause.name;
    if (NO_ROOM.has(system)) {
      throw new BridgeError("disk_low", "no room for the file on the disk of the data directory", {
        cause,
        retryable: true,
        mend: "free space on that disk",
      });
    }
    throw new BridgeError("store_unavailable", `the media directory does not take the file (${system})`, {
      cause,
      retryable: true,
    });
  }
}
