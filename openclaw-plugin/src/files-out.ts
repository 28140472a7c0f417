import { type FileContent, uploadFile } from "./bridge-client.ts";
import { type Bridge, BridgeAway } from "./bridge-http.ts";
import { baseName } from "./text.ts";

/** A file as OpenClaw's own loader gives it. */
export interface LoadedFile {
  buffer: Uint8Array;
  fileName?: string | undefined;
}

export interface FileToSend {
  /** A path, a `file:` or `media:` URL, or an address on the web. */
  source: string;
  /** Reads what is not on the web, where OpenClaw allows it; throws otherwise. */
  load: (source: string) => Promise<LoadedFile>;
  /** What the file is called, when it is known better than by its source. */
  name?: string | undefined;
  /** Never shown as a picture. */
  asDocument?: boolean | undefined;
}

/** A file cannot be sent. `fileName` may be shown to people; the message is for logs and for whoever named the file. */
export class FileRefusal extends Error {
  readonly fileName: string;

  constructor(fileName: string, cause: unknown) {
    super(`${fileName} cannot be sent: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = "FileRefusal";
    this.fileName = fileName;
  }
}

/**
 * Makes a file ready to be named in a message: uploads it, or leaves it to the bridge to fetch it from the web. Throws a FileRefusal, or
 * a BridgeAway when patience ends.
 */
export async function fileContent(bridge: Bridge, file: FileToSend): Promise<FileContent> {
  const { source, load, asDocument } = file;
  if (/^https?:/i.test(source)) {
    const type = asDocument ? "file" : typeByName(nameOfUrl(source));
    return { type, media: { url: source }, ...(file.name !== undefined && { fileName: file.name }) };
  }
  try {
    const loaded = await load(source);
    const fileName = file.name ?? firstName(loaded.fileName ?? baseName(source));
    const { id, mimeType } = await uploadFile(bridge, { buffer: loaded.buffer, fileName });
    return { type: asDocument ? "file" : typeByMime(mimeType), media: { id }, fileName };
  } catch (error) {
    if (error instanceof BridgeAway) throw error;
    throw new FileRefusal(file.name ?? baseName(source), error);
  }
}

/** OpenClaw copies a file as `<name>---<uuid>.<extension>` before it is sent, and not every release tells the first name besides. */
function firstName(name: string): string {
  return name.replace(/(?<=.)---[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=\.[^.]*$|$)/i, "");
}

const TYPES = ["image", "audio", "video"] as const;

function typeByMime(mimeType: string): FileContent["type"] {
  return TYPES.find((type) => mimeType.startsWith(`${type}/`)) ?? "file";
}

const EXTENSIONS: readonly (readonly [FileContent["type"], RegExp])[] = [
  ["audio", /\.(?:amr|ogg|oga|opus|mp3|wav|m4a|aac|flac)$/i],
  ["video", /\.(?:mp4|mov|webm|mkv|avi|m4v)$/i],
  ["file", /\.[a-z0-9]{1,8}$/i],
];
const PICTURE = /\.(?:jpe?g|png|gif|bmp|webp)$/i;

/** An address without an extension is most often a picture; the bridge sends what is none as a file. */
function typeByName(name: string): FileContent["type"] {
  if (PICTURE.test(name)) return "image";
  return EXTENSIONS.find(([, sign]) => sign.test(name))?.[0] ?? "image";
}

function nameOfUrl(url: string): string {
  return baseName(URL.parse(url)?.pathname ?? "");
}
