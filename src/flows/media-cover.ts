import { createHash } from "node:crypto";

/** What a video without a cover of its own shows until it is played, 320 × 180 dark grey pixels: DingTalk asks for one (dingtalk-protocol.md §3.6). */
export const PLAIN_COVER = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAUAAAAC0AQMAAADfKmdSAAAAA1BMVEU6P0c+4KOTAAAAHklEQVR42u3BMQEAAADCoPVPbQ0PoAAAAAAAAAB+DRzUAAG9+HBKAAAAAElFTkSuQmCC",
  "base64",
);

export const PLAIN_COVER_SHA256 = createHash("sha256").update(PLAIN_COVER).digest("hex");
