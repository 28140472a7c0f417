import { Type } from "typebox";
import type { MessageContent } from "../flows/outbound-content.ts";

/** More than DingTalk would carry in many messages, and little enough to answer quickly. */
export const TEXT_LIMIT = 200_000;
/** What cannot be split into several messages. */
const ONE_TEXT_LIMIT = 3_500;
const TITLE_LIMIT = 200;
const URL_LIMIT = 2_048;
/** Presigned ones are long. */
const MEDIA_URL_LIMIT = 8_192;

const strict = { additionalProperties: false } as const;

const TextContent = Type.Object(
  { type: Type.Literal("text"), text: Type.String({ minLength: 1, maxLength: TEXT_LIMIT }) },
  { ...strict, title: "Text" },
);

const MarkdownContent = Type.Object(
  {
    type: Type.Literal("markdown"),
    text: Type.String({
      minLength: 1,
      maxLength: TEXT_LIMIT,
      description:
        "DingTalk's subset of Markdown. The first ten pictures, `![words](http…)`, are fetched and shown; what cannot be had becomes a link",
    }),
    title: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: TITLE_LIMIT,
        description: "Shown in the chat list; default: the first line",
      }),
    ),
  },
  { ...strict, title: "Markdown" },
);

const media = (description: string) =>
  Type.Object(
    {
      id: Type.Optional(
        Type.String({ pattern: "^m_[0-9a-f]{32}$", description: "Of POST /v1/media or of an envelope" }),
      ),
      url: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: MEDIA_URL_LIMIT,
          description: "http or https, at a public address or at the gateway's own origin; fetched when it is sent",
        }),
      ),
    },
    { ...strict, minProperties: 1, maxProperties: 1, description },
  );

const fileFields = {
  media: media("The file, by `id` or by `url`; DingTalk takes 20 MB at most"),
  fileName: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: "Shown for files" })),
  caption: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: TEXT_LIMIT,
      description: "Markdown, sent behind the file; also when the file is refused",
    }),
  ),
};

const ImageContent = Type.Object(
  { type: Type.Literal("image"), ...fileFields },
  { ...strict, title: "Image", description: "JPEG, PNG, GIF or BMP; another format is sent as a file" },
);
const FileContent = Type.Object(
  { type: Type.Literal("file"), ...fileFields },
  { ...strict, title: "File", description: "pdf, doc, docx, xlsx, zip and rar as they are, anything else in a zip" },
);
const AudioContent = Type.Object(
  { type: Type.Literal("audio"), ...fileFields },
  { ...strict, title: "Audio", description: "AMR or Ogg up to 2 MB as a voice message; anything else as a file" },
);
const VideoContent = Type.Object(
  {
    type: Type.Literal("video"),
    ...fileFields,
    cover: Type.Optional(media("Shown until it is played; a plain picture when there is none")),
  },
  { ...strict, title: "Video", description: "MP4; anything else as a file" },
);

const address = (description: string) =>
  Type.String({ pattern: "^(https?|dingtalk)://\\S+$", maxLength: URL_LIMIT, description });

const LinkContent = Type.Object(
  {
    type: Type.Literal("link"),
    title: Type.String({ minLength: 1, maxLength: TITLE_LIMIT }),
    text: Type.String({ minLength: 1, maxLength: ONE_TEXT_LIMIT }),
    url: address("Opened by a click"),
    imageUrl: Type.Optional(
      Type.String({
        pattern: "^https?://\\S+$",
        maxLength: URL_LIMIT,
        description: "Loaded by DingTalk's clients themselves",
      }),
    ),
  },
  { ...strict, title: "Link" },
);

const ActionCardContent = Type.Object(
  {
    type: Type.Literal("actionCard"),
    title: Type.String({ minLength: 1, maxLength: TITLE_LIMIT, description: "Shown in the chat list" }),
    text: Type.String({ minLength: 1, maxLength: ONE_TEXT_LIMIT, description: "Markdown" }),
    buttons: Type.Array(
      Type.Object({ title: Type.String({ minLength: 1, maxLength: 100 }), url: address("Opened by a click") }, strict),
      { minItems: 1, maxItems: 5 },
    ),
    layout: Type.Optional(
      Type.Unsafe<"vertical" | "horizontal">({
        type: "string",
        enum: ["vertical", "horizontal"],
        description: "horizontal: exactly 2 buttons",
      }),
    ),
  },
  { ...strict, title: "Action card" },
);

const params = (description: string) =>
  Type.Unsafe<Record<string, unknown>>({
    type: "object",
    description,
    maxProperties: 200,
    additionalProperties: { not: { type: "null" } },
  });

const CardContent = Type.Object(
  {
    type: Type.Literal("card"),
    templateId: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: "Makes a card; the answer has its `outTrackId`" }),
    ),
    outTrackId: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: "Updates a card of this account instead" }),
    ),
    params: params("Variables of the template; what is no string is sent as JSON. In an update the others stay"),
    privateParams: Type.Optional(
      Type.Unsafe<Record<string, Record<string, unknown>>>({
        type: "object",
        description: "Variables by staffId: only that person sees them",
        maxProperties: 50,
        additionalProperties: params("Variables of one person"),
      }),
    ),
    summary: Type.Optional(
      Type.String({ minLength: 1, maxLength: TITLE_LIMIT, description: "Shown in the chat list" }),
    ),
  },
  { ...strict, title: "Card" },
);

const ALTERNATIVES = [
  TextContent,
  MarkdownContent,
  ImageContent,
  FileContent,
  AudioContent,
  VideoContent,
  LinkContent,
  ActionCardContent,
  CardContent,
];

export const CONTENT_TYPES: readonly string[] = ALTERNATIVES.map(({ properties }) => properties.type.const);

/** `oneOf` with a discriminator, so that a wrong field is named and not "no alternative matched". */
export const Content = Type.Unsafe<MessageContent>({
  type: "object",
  required: ["type"],
  discriminator: { propertyName: "type" },
  oneOf: ALTERNATIVES,
});
