import type { PluginRuntime } from "openclaw/plugin-sdk/channel-core";
import { type Bridge, authorization, reasonOf, withTimeout } from "./bridge-http.ts";
import { reasonFor } from "./files-missing.ts";
import type { EnvelopeMessage, EnvelopePart } from "./types.ts";

const FETCH_TIMEOUT_MS = 60_000;
const PAUSES_MS = [500, 2_000] as const;
/** Of the bridge; anything else would be a path. */
const MEDIA_ID = /^m_[0-9a-f]{32}$/;

type SavedFile = Awaited<ReturnType<PluginRuntime["channel"]["media"]["saveResponseMedia"]>>;
type BuildContext = PluginRuntime["channel"]["inbound"]["buildContext"];
/** A file of the message as OpenClaw's context takes it. */
export type MediaFact = NonNullable<Parameters<BuildContext>[0]["media"]>[number];

/** The files of a message, and why the others are missing. */
export interface ReceivedFiles {
  media: MediaFact[];
  quoted: MediaFact[];
  missing: Map<EnvelopePart, string>;
}

export interface FilesContext {
  runtime: PluginRuntime;
  bridge: Bridge;
  maxBytes: number;
}

/**
 * Brings the files of a message into OpenClaw's media store, where its agents may read them. They come from the bridge that the
 * account is configured with, whatever address the envelope names. Never throws: what cannot be had is missing, with the reason.
 */
export async function receiveFiles(context: FilesContext, message: EnvelopeMessage): Promise<ReceivedFiles> {
  const missing = new Map<EnvelopePart, string>();
  const receive = async (parts: readonly EnvelopePart[]): Promise<MediaFact[]> => {
    const facts = await Promise.all(parts.map((part) => receivePart(context, part, missing)));
    return facts.filter((fact) => fact !== undefined);
  };
  const [media, quoted] = await Promise.all([receive(message.parts), receive(message.quote?.parts ?? [])]);
  return { media, quoted, missing };
}

async function receivePart(
  context: FilesContext,
  part: EnvelopePart,
  missing: Map<EnvelopePart, string>,
): Promise<MediaFact | undefined> {
  if (part.error) {
    context.bridge.log.info(`dingtalk: a ${part.type} is missing: ${part.error.code}: ${part.error.detail}`);
    missing.set(part, reasonFor(part.error));
  }
  if (!part.media) return undefined;
  try {
    const saved = await save(context, part.media);
    const { durationMs, mimeType, fileName } = part.media;
    const name = fileName ?? part.fileName;
    const contentType = saved.contentType ?? mimeType;
    return {
      path: saved.path,
      sizeBytes: saved.size,
      ...(contentType !== undefined && { contentType }),
      ...(name !== undefined && { fileName: name }),
      ...(durationMs !== undefined && { durationMs }),
      // What was said is in the text already: OpenClaw need not listen to it again.
      ...(part.recognition && { transcribed: true }),
    };
  } catch (error) {
    const reason = reasonOf(error);
    context.bridge.log.warn(`dingtalk: file ${part.media.id} was not received: ${reason}`);
    missing.set(part, "it could not be fetched from the bridge");
    return undefined;
  }
}

async function save(context: FilesContext, media: NonNullable<EnvelopePart["media"]>): Promise<SavedFile> {
  if (!MEDIA_ID.test(media.id)) throw new Error("not an id of the bridge");
  for (let attempt = 0; ; attempt += 1) {
    const pause = PAUSES_MS[attempt];
    try {
      return await fetchOnce(context, media);
    } catch (error) {
      if (pause === undefined || error instanceof Gone) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function fetchOnce(
  { runtime, bridge, maxBytes }: FilesContext,
  media: NonNullable<EnvelopePart["media"]>,
): Promise<SavedFile> {
  const url = `${bridge.account.bridgeUrl}/v1/media/${media.id}`;
  const response = await fetch(url, {
    headers: { ...authorization(bridge.account, bridge.userAgent), accept: "*/*" },
    redirect: "error",
    signal: withTimeout(bridge.signal, FETCH_TIMEOUT_MS),
  });
  const length = Number(response.headers.get("content-length") ?? media.bytes ?? 0);
  const isGone = response.status >= 400 && response.status < 500 && ![408, 429].includes(response.status);
  if (isGone || length > maxBytes) {
    await response.body?.cancel();
    throw new Gone(isGone ? `HTTP ${response.status}` : `${length} bytes are more than mediaMaxMb`);
  }
  return await runtime.channel.media.saveResponseMedia(response, {
    sourceUrl: url,
    maxBytes,
    subdir: "inbound",
    ...(media.mimeType !== undefined && { fallbackContentType: media.mimeType }),
    ...(media.fileName !== undefined && { originalFilename: media.fileName, filePathHint: media.fileName }),
  });
}

/** Another try would end the same way. */
class Gone extends Error {}
