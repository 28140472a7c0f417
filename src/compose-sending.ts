import { MarkdownImages } from "./flows/markdown-images.ts";
import type { MediaFiles } from "./flows/media-files.ts";
import type { GuardedFetch } from "./flows/media-guard.ts";
import { MediaSender } from "./flows/media-sender.ts";
import { MediaSlots } from "./flows/media-slots.ts";
import { MediaUploads } from "./flows/media-uploads.ts";
import type { PartSenderOptions } from "./flows/outbound-part.ts";
import type { Clock } from "./ops/clock.ts";
import type { Logger } from "./ops/logger.ts";
import type { Metrics } from "./ops/metrics.ts";
import type { SqliteStore } from "./queue/sqlite-store.ts";

/** Messages whose files are fetched and uploaded at a time, over all conversations. */
const FILES_AT_A_TIME = 16;
/** Of the places at a gate to DingTalk, of which there are `limits.apiPerSecond`: the others are for words. */
const SHARE_FOR_FILES = 0.8;

/** What the outbox needs for messages with files, wired. */
export function buildSending(wiring: {
  store: SqliteStore;
  media: { files: MediaFiles; fetch: GuardedFetch; maxBytes: number };
  publicUrl: () => string;
  apiPerSecond: number;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}): Pick<PartSenderOptions, "images" | "uploads" | "slots"> & {
  media: MediaSender;
  resize: (apiPerSecond: number) => void;
} {
  const { store, publicUrl, apiPerSecond, clock, logger, metrics } = wiring;
  const { files, fetch, maxBytes } = wiring.media;
  const uploads = new MediaUploads({ store: store.media, clock, metrics });
  const sender = { store: store.media, files, fetch, uploads, maxBytes, publicUrl, clock, logger };
  const media = new MediaSender(sender);
  const slots = new MediaSlots(slotsFor(apiPerSecond));
  return {
    media,
    images: new MarkdownImages({ media, logger }),
    uploads,
    slots,
    resize: (perSecond) => slots.resize(slotsFor(perSecond)),
  };
}

const slotsFor = (apiPerSecond: number): number =>
  Math.max(1, Math.min(FILES_AT_A_TIME, Math.floor(apiPerSecond * SHARE_FOR_FILES)));
