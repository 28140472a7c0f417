import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import type { Ids } from "./dingtalk-ids.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import { generatedFile, sampleFile } from "./dingtalk-media-samples.ts";
import type { UploadBody } from "./dingtalk-media-upload.ts";
import { CappedList, CappedMap, type Records } from "./dingtalk-records.ts";
import type { MediaKind, OfferedFile, SaidFile, UploadedFile } from "./dingtalk-types.ts";
import type { App } from "./dingtalk-world.ts";

/** What tests see of uploads and downloads. */
export interface SimulatedMedia {
  readonly uploaded: readonly UploadedFile[];
  /** By media id; also of files whose record is gone. Undefined for ids that are not (any more) valid. */
  fileOf(mediaId: string): UploadedFile | undefined;
  /** Puts a file behind a download code, for contents that a test writes itself. */
  offer(file: OfferedFile): { downloadCode: string };
}

/** A file that can be downloaded, any number of times. */
export interface StoredFile {
  app: App;
  open(): Readable;
  bytes: number | undefined;
  fileName: string | undefined;
}

interface Coded {
  file: StoredFile;
  since: number;
}

/** Letters behind the `@` of a media id, by type. */
const prefixes = { image: "lALPD", voice: "lATPD", video: "lAvPD", file: "lAjPD" } as const;

const life = (ms: number): number => (ms > 0 ? ms : Number.POSITIVE_INFINITY);

/** Media ids, download codes and the addresses behind them (dingtalk-protocol.md §3.8, §3.9). */
export class Media {
  readonly #knobs: SimulatorKnobs;
  readonly #records: Records;
  readonly #idMaker: Ids;
  readonly #uploaded: CappedList<UploadedFile>;
  readonly #ids: CappedMap<string, { file: UploadedFile; corpId: string }>;
  readonly #codes: CappedMap<string, Coded>;
  readonly #links: CappedMap<string, Coded>;

  constructor(knobs: SimulatorKnobs, records: Records, ids: Ids) {
    this.#knobs = knobs;
    this.#records = records;
    this.#idMaker = ids;
    const cap = (): number => knobs.maxRecords;
    this.#uploaded = new CappedList(cap);
    this.#ids = new CappedMap(cap);
    this.#codes = new CappedMap(cap);
    this.#links = new CappedMap(cap);
  }

  view(appOf: (name: string | undefined) => App): SimulatedMedia {
    return {
      uploaded: this.#uploaded.items,
      fileOf: (mediaId) => this.#ids.get(mediaId)?.file,
      offer: ({ app, data, bytes, fileName }) => ({
        downloadCode: this.#issue({
          app: appOf(app),
          open: typeof data === "function" ? data : () => Readable.from([data], { objectMode: false }),
          bytes: typeof data === "function" ? bytes : data.length,
          fileName,
        }),
      }),
    };
  }

  /** A fresh media id for what was uploaded. */
  keep(app: App, type: UploadedFile["type"], { fileName, mimeType, bytes, sha256, data }: UploadBody): UploadedFile {
    const mediaId = `@${prefixes[type]}${randomBytes(24).toString("base64url")}`;
    const file = {
      seq: this.#records.nextSeq(),
      at: Date.now(),
      app: app.appKey,
      type,
      mediaId,
      fileName,
      mimeType,
      bytes,
      sha256,
      data,
    };
    this.#uploaded.add(file);
    this.#ids.set(mediaId, { file, corpId: app.corpId });
    return file;
  }

  /** Whether the app can send this id as a file of that type: uploaded as that, and by an app of the same organisation. */
  isUsable(app: App, mediaId: unknown, type: UploadedFile["type"]): boolean {
    const known = typeof mediaId === "string" ? this.#ids.get(mediaId) : undefined;
    return known !== undefined && known.corpId === app.corpId && known.file.type === type;
  }

  /** DingTalk shows nothing for an image of Markdown that is neither an address nor a media id, and tells nobody. */
  checkImages(app: App, api: string, markdown: string): void {
    for (const [, target = ""] of markdown.matchAll(/!\[[^\]]*\]\(([^)\s]*)[^)]*\)/g)) {
      if (/^https?:\/\//i.test(target) || this.isUsable(app, target, "image")) continue;
      this.#records.problem(`${api}: the Markdown shows an image that is not there: ${target}`);
    }
  }

  /** Download codes that deliver what somebody said: all those of one picture the same. */
  share(app: App, kind: MediaKind, said: SaidFile | undefined, fileName?: string): () => string {
    const file = storedFile(app, kind, said, fileName);
    return () => this.#issue(file);
  }

  #issue(file: StoredFile): string {
    const code = this.#idMaker.downloadCode();
    this.#codes.set(code, { file, since: Date.now() });
    return code;
  }

  /** The file of a code. `expired` also for codes that were never given out. */
  exchange(code: string, app: App): StoredFile | "expired" | "other robot" {
    const coded = this.#codes.get(code);
    if (!coded || Date.now() >= coded.since + life(this.#knobs.downloadCodeLifeMs)) return "expired";
    return coded.file.app === app ? coded.file : "other robot";
  }

  /** Path and query of a signed address. */
  link(file: StoredFile): string {
    const secret = this.#idMaker.signature();
    const now = Date.now();
    this.#links.set(secret, { file, since: now });
    // OSS counts in seconds; an address without end shows one year.
    const until = Math.ceil((now + Math.min(life(this.#knobs.downloadUrlLifeMs), 31_536_000_000)) / 1_000);
    return `/sandbox-files/${secret}.file?Expires=${until}&OSSAccessKeyId=sandbox&Signature=${secret.slice(0, 16)}`;
  }

  /** What a signed address leads to. */
  linked(secret: string): StoredFile | "expired" | "unknown" {
    const linked = this.#links.get(secret);
    if (!linked) return "unknown";
    return Date.now() >= linked.since + life(this.#knobs.downloadUrlLifeMs) ? "expired" : linked.file;
  }

  appOfLink(secret: string): App | undefined {
    return this.#links.get(secret)?.file.app;
  }

  /** Makes codes and addresses invalid at once. */
  expireDownloads(): void {
    this.#codes.clear();
    for (const linked of this.#links.values()) linked.since = Number.NEGATIVE_INFINITY;
  }

  /** Makes one media id invalid, or all. Returns how many. */
  forget(mediaId?: string): number {
    if (mediaId !== undefined) return this.#ids.delete(mediaId) ? 1 : 0;
    const known = this.#ids.size;
    this.#ids.clear();
    return known;
  }

  /** Forgets the list of uploads; ids and codes stay valid. */
  clear(): void {
    this.#uploaded.clear();
  }
}

function storedFile(app: App, kind: MediaKind, said: SaidFile | undefined, fileName: string | undefined): StoredFile {
  const named = { app, fileName };
  if (said === undefined || Buffer.isBuffer(said)) {
    const data = said ?? sampleFile(kind, fileName);
    return { ...named, open: () => Readable.from([data], { objectMode: false }), bytes: data.length };
  }
  const { bytes, data } = said;
  return { ...named, open: data ?? (() => generatedFile(kind, bytes, fileName)), bytes };
}
