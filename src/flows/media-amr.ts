import { open } from "node:fs/promises";

/** Bytes of a frame with its header byte, by frame type (RFC 4867 §5.3; 3GPP TS 26.101 and 26.201). Absent: reserved. */
const NARROWBAND = new Map([13, 14, 16, 18, 20, 21, 27, 32, 6].entries()).set(15, 1);
const WIDEBAND = new Map([18, 24, 33, 37, 41, 47, 51, 59, 61, 6].entries()).set(14, 1).set(15, 1);

const KINDS = [
  { magic: "#!AMR\n", frameBytes: NARROWBAND },
  { magic: "#!AMR-WB\n", frameBytes: WIDEBAND },
] as const;

const FRAME_MS = 20;

/**
 * Milliseconds of an AMR or AMR-WB file: 20 for each whole frame. Undefined for anything else, the multi-channel kinds
 * included, and without a frame. Frames behind one that is not valid are not counted: no player gets past it.
 */
export async function amrDuration(path: string): Promise<number | undefined> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, 0);
    const head = buffer.toString("latin1", 0, bytesRead);
    const kind = KINDS.find(({ magic }) => head.startsWith(magic));
    if (kind === undefined) return undefined;
    const counter = new FrameCounter(kind.frameBytes);
    const frames = file.createReadStream({ start: kind.magic.length, autoClose: false });
    for await (const bytes of frames as AsyncIterable<Buffer>) if (!counter.take(bytes)) break;
    return counter.whole === 0 ? undefined : counter.whole * FRAME_MS;
  } finally {
    await file.close();
  }
}

class FrameCounter {
  whole = 0;
  readonly #frameBytes: ReadonlyMap<number, number>;
  /** Bytes of the frame under way that are still to come. */
  #missing = 0;

  constructor(frameBytes: ReadonlyMap<number, number>) {
    this.#frameBytes = frameBytes;
  }

  /** False at a header that is none. */
  take(bytes: Buffer): boolean {
    let at = 0;
    for (;;) {
      const step = Math.min(this.#missing, bytes.length - at);
      at += step;
      this.#missing -= step;
      if (this.#missing === 0 && step > 0) this.whole += 1;
      const header = bytes[at];
      if (header === undefined) return true;
      const size = this.#frameBytes.get((header >> 3) & 0x0f);
      // The header's first and its last two bits are padding: zero.
      if (size === undefined || (header & 0x83) !== 0) return false;
      this.#missing = size;
    }
  }
}
