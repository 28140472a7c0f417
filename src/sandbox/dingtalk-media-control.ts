import type { OfferedFile, SaidFile, SaidMessage, UploadedFile } from "./dingtalk-types.ts";

/** A file in the JSON of the control API. Streams do not travel: a length alone stands for a generated one. */
export type WireFile = { base64: string } | { bytes: number };

/** `say` in the JSON of the control API. */
export type WireMessage = Omit<SaidMessage, "file"> & { file?: WireFile | WireFile[] };

/** `media.offer` in the JSON of the control API. */
export type WireOffer = Omit<OfferedFile, "data"> & { base64: string };

/** An upload as it travels: without its bytes. */
export type UploadedView = Omit<UploadedFile, "data">;

function wireFile(file: SaidFile): WireFile {
  if (Buffer.isBuffer(file)) return { base64: file.toString("base64") };
  if (file.data) throw new Error("a stream cannot be sent to a simulator in another process");
  return { bytes: file.bytes };
}

const saidFile = (file: WireFile): SaidFile => ("base64" in file ? Buffer.from(file.base64, "base64") : file);

/** @throws when a file is a stream */
export function wireMessage({ file, ...said }: SaidMessage): WireMessage {
  if (file === undefined) return said;
  // Narrowing by Array.isArray fails for readonly arrays.
  const files = (Array.isArray(file) ? file : [file]) as SaidFile[];
  return { ...said, file: files.map(wireFile) };
}

export function saidMessage({ file, ...said }: WireMessage): SaidMessage {
  if (file === undefined) return said;
  return { ...said, file: (Array.isArray(file) ? file : [file]).map(saidFile) };
}

export const offeredFile = ({ base64, ...more }: WireOffer): OfferedFile => ({
  ...more,
  data: Buffer.from(base64, "base64"),
});

export function uploadedView(file: UploadedFile): UploadedView {
  const view: Partial<UploadedFile> & UploadedView = { ...file };
  delete view.data;
  return view;
}
