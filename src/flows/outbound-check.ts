import { BridgeError } from "../domain/errors.ts";
import type { MediaFile } from "../queue/media-store.ts";
import { isWebAddress, ownMedia } from "./media-address.ts";
import { LARGEST_BYTES, isShownImage } from "./media-form.ts";
import { imagesIn } from "../domain/markdown-images.ts";
import { type MediaReference, type MessageContent, isMediaContent } from "./outbound-content.ts";

export interface ContentCheck {
  /** A file of the account. */
  media: (id: string) => MediaFile | undefined;
  /** How the gateway reaches the bridge. */
  publicUrl: string;
}

/** What is not split must fit into one message on every road (dingtalk-protocol.md §3.2, §3.5). */
const LARGEST_JSON = 14_000;

/**
 * What the schema cannot say of a content; files of the bridge's own are named by their id in what is returned. Throws BridgeError
 * `invalid_request`, `media_unknown`, `media_too_large`, `media_unsupported` or `media_url_refused`, each naming the field.
 */
export function checkedContent(content: MessageContent, check: ContentCheck): MessageContent {
  if (isMediaContent(content)) {
    const { cover } = content;
    const media = checkedMedia("content.media", content.media, check);
    if (cover === undefined) return { ...content, media };
    return { ...content, media, cover: checkedMedia("content.cover", cover, check, true) };
  }
  if (content.type === "actionCard" && content.layout === "horizontal" && content.buttons.length !== 2) {
    throw new BridgeError("invalid_request", "content.buttons: layout horizontal takes exactly 2 buttons");
  }
  if ((content.type === "actionCard" || content.type === "link") && bytesOf(content) > LARGEST_JSON) {
    const detail = `content: ${bytesOf(content)} bytes as JSON; DingTalk takes ${LARGEST_JSON} in one message`;
    throw new BridgeError("invalid_request", detail);
  }
  if (content.type === "card" && (content.templateId === undefined) === (content.outTrackId === undefined)) {
    const detail = "content.templateId: give it to make a card, or content.outTrackId to update one, not both";
    throw new BridgeError("invalid_request", detail);
  }
  if (content.type === "card" && content.outTrackId !== undefined && content.summary !== undefined) {
    throw new BridgeError("invalid_request", "content.summary: is given when a card is made, not with an update");
  }
  return content;
}

function checkedMedia(field: string, reference: MediaReference, check: ContentCheck, isCover = false): MediaReference {
  if ("url" in reference && !isWebAddress(reference.url)) {
    throw new BridgeError("media_url_refused", `${field}.url: must be an http or https URL without credentials`);
  }
  const own = ownMedia(reference, check.publicUrl);
  if ("url" in own) return own;
  const name = `${field}.${"id" in reference ? "id" : "url"}`;
  const file = check.media(own.id);
  if (!file) throw new BridgeError("media_unknown", `${name}: the bridge has no such file (any more)`);
  if (file.bytes > LARGEST_BYTES) {
    const detail = `${name}: ${file.bytes} bytes; DingTalk takes ${LARGEST_BYTES} at most`;
    throw new BridgeError("media_too_large", detail);
  }
  if (isCover && !isShownImage(file)) {
    throw new BridgeError("media_unsupported", `${name}: a cover is a JPEG, PNG, GIF or BMP, not ${file.mimeType}`);
  }
  return own;
}

/** The bridge's own files that the message needs until it is sent, those in its text included. */
export function filesOf(content: MessageContent, { media, publicUrl }: ContentCheck): string[] {
  const texts = "text" in content ? [content.text] : "caption" in content ? [content.caption ?? ""] : [];
  const references: MediaReference[] = [
    ...(isMediaContent(content) ? [content.media, ...(content.cover ? [content.cover] : [])] : []),
    ...(content.type === "text" ? [] : texts.flatMap((text) => imagesIn(text))),
  ];
  const own = references.map((reference) => ownMedia(reference, publicUrl));
  const ids = own.flatMap((reference) => ("id" in reference && media(reference.id) ? [reference.id] : []));
  return [...new Set(ids)];
}

const bytesOf = (content: MessageContent): number => Buffer.byteLength(JSON.stringify(content));
