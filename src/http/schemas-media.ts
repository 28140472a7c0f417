import { Type } from "typebox";

const Bytes = { type: "string", format: "binary" } as const;

export const UploadBody = Type.Object(
  {
    account: Type.Optional(
      Type.String({ description: "Needed only when the token speaks for several; before the file" }),
    ),
    file: Type.Unsafe<unknown>({ ...Bytes, description: "The file, with its name" }),
  },
  { additionalProperties: false },
);

export const MediaInfo = Type.Object(
  {
    id: Type.String({ description: "m_ and 32 hexadecimal digits" }),
    mimeType: Type.String({ description: "By the content, not by what the upload says" }),
    bytes: Type.Integer(),
    fileName: Type.Optional(Type.String()),
    durationMs: Type.Optional(Type.Integer({ description: "Of audio and video, where it can be read" })),
  },
  { title: "Media" },
);

/** For the document: the answer is a stream of the file's own type. */
export const FileBytes = Type.Unsafe<unknown>({
  description: "The file, with its own Content-Type",
  content: { "application/octet-stream": { schema: Bytes } },
});
