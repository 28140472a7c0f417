import type { MediaReference } from "./outbound-content.ts";

const ID = /^m_[0-9a-f]{32}$/;

/** An address that only the bridge can resolve is one of its own files: by id, because the guard refuses its address. */
export function ownMedia(reference: MediaReference, publicUrl: string): MediaReference {
  if ("id" in reference) return reference;
  const id = idOf(reference.url, publicUrl);
  return id === undefined ? reference : { id };
}

/** The id in `<publicUrl>/v1/media/<id>`; undefined for any other address. */
function idOf(address: string, publicUrl: string): string | undefined {
  const url = URL.parse(address);
  const base = URL.parse(`${publicUrl.replace(/\/+$/, "")}/v1/media/`);
  if (!url || !base || url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) return undefined;
  const id = url.pathname.slice(base.pathname.length);
  return ID.test(id) ? id : undefined;
}

/** An address of the web, without credentials. Whether it may be fetched is found out when it is (media-guard.ts). */
export function isWebAddress(address: string): boolean {
  const url = URL.parse(address);
  return url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
}
