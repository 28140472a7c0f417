import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { fileTypeFromBuffer } from "file-type";
import type { MediaKind } from "./dingtalk-types.ts";
import { sizeText } from "./terminal-text.ts";

/** A file that the person at the terminal named. */
export interface PersonFile {
  fileName: string;
  data: Buffer;
  /** As what DingTalk's client sends it. */
  kind: MediaKind;
}

/** Why a path cannot be sent, in words for the terminal. */
export class FileProblem extends Error {}

/** More than the bridge takes with its default settings, so that its refusal can be tried too. */
const MOST_BYTES = 100_000_000;

const KINDS: Readonly<Record<string, MediaKind>> = {
  "image/jpeg": "picture",
  "image/png": "picture",
  "image/gif": "picture",
  "image/bmp": "picture",
  "image/webp": "picture",
  // DingTalk records voice as these; other audio is sent as a file.
  "audio/amr": "audio",
  "audio/ogg": "audio",
  "video/mp4": "video",
  "video/quicktime": "video",
};

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  ENOTDIR: "no such file",
  EACCES: "it may not be read",
  EPERM: "it may not be read",
};

/** Reads what the person named; `~/` is their home. Throws FileProblem. */
export async function readPersonFile(path: string): Promise<PersonFile> {
  const place = path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
  try {
    const about = await stat(place);
    if (!about.isFile()) throw new FileProblem(`${path}: not a file`);
    if (about.size === 0) throw new FileProblem(`${path}: it is empty`);
    if (about.size > MOST_BYTES) {
      throw new FileProblem(`${path}: too large: ${sizeText(about.size)}, at most ${sizeText(MOST_BYTES)}`);
    }
    const data = await readFile(place);
    const type = await fileTypeFromBuffer(data);
    return { fileName: basename(place), data, kind: KINDS[type?.mime.split(";")[0] ?? ""] ?? "file" };
  } catch (error) {
    if (error instanceof FileProblem) throw error;
    const { code = "", message } = error as NodeJS.ErrnoException;
    throw new FileProblem(`${path}: ${PROBLEMS[code] ?? message}`, { cause: error });
  }
}

/** Several files go together only as pictures. Throws FileProblem. */
export async function readPersonFiles(paths: readonly string[]): Promise<PersonFile[]> {
  const files: PersonFile[] = [];
  for (const path of paths) files.push(await readPersonFile(path));
  const other = files.find(({ kind }) => kind !== "picture");
  if (files.length > 1 && other) throw new FileProblem(`${other.fileName}: only pictures can be sent together`);
  return files;
}

/** Words of a command line: parted by spaces, unless these are quoted or follow a backslash. */
export function wordsOf(line: string): string[] {
  const words = line.matchAll(/(?:"[^"]*"|'[^']*'|\\.|[^\s"'\\]|["'\\])+/g);
  return Array.from(words, ([word]) =>
    word.replaceAll(/"([^"]*)"|'([^']*)'|\\(.)/g, (_whole, double?: string, single?: string, escaped?: string) => {
      return double ?? single ?? escaped ?? "";
    }),
  );
}
