/** What one part may hold: UTF-16 units of text, and UTF-8 bytes of `JSON.stringify({ title, text })`. */
export interface PartLimits {
  characters: number;
  jsonBytes: number;
}

/** UTF-8 bytes of a string inside JSON, without the quotes. */
export function jsonBytesOf(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2;
}

/**
 * Measures slices of one source text against the limits of a part in constant time: prefix sums of the JSON bytes.
 * A surrogate pair counts two bytes on either side, so sums are right as long as nobody cuts a pair.
 */
export class Ruler {
  readonly source: string;
  readonly #characters: number;
  readonly #bytes: number;
  readonly #sums: Uint32Array;

  /** `jsonBytes` here is what is left for the text when the title has taken its share. */
  constructor(source: string, limits: PartLimits) {
    this.source = source;
    this.#characters = limits.characters;
    this.#bytes = limits.jsonBytes;
    this.#sums = sumsOf(source);
  }

  /** Whether `open + source.slice(start, end) + close` is within both limits. */
  fits(start: number, end: number, open = "", close = ""): boolean {
    if (end - start + open.length + close.length > this.#characters) return false;
    return this.#between(start, end) + extra(open) + extra(close) <= this.#bytes;
  }

  /** Whether furniture leaves at least half of a part to the text itself. */
  isSmall(furniture: string): boolean {
    return furniture.length * 2 <= this.#characters && extra(furniture) * 2 <= this.#bytes;
  }

  /** The greatest `end` for which `fits` holds; never between the halves of a surrogate pair. May be below `start`. */
  reach(start: number, open: string, close: string): number {
    let high = Math.min(this.source.length, start + this.#characters - open.length - close.length);
    const bytes = this.#bytes - extra(open) - extra(close);
    let low = Math.min(start, high);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#between(start, middle) <= bytes) low = middle;
      else high = middle - 1;
    }
    return splitsPair(this.source, low) ? low - 1 : low;
  }

  #between(start: number, end: number): number {
    return (this.#sums[end] ?? 0) - (this.#sums[start] ?? 0);
  }
}

/** Whether `at` lies between the halves of a surrogate pair. */
export function splitsPair(text: string, at: number): boolean {
  return at > 0 && isHigh(text.charCodeAt(at - 1)) && isLow(text.charCodeAt(at));
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit < 0xe000;

const extra = (furniture: string): number => (furniture === "" ? 0 : jsonBytesOf(furniture));

function sumsOf(text: string): Uint32Array {
  const sums = new Uint32Array(text.length + 1);
  let sum = 0;
  for (let at = 0; at < text.length; at += 1) {
    sum += bytesAt(text, at);
    sums[at + 1] = sum;
  }
  return sums;
}

function bytesAt(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  if (unit < 0x20) return unit === 8 || unit === 9 || unit === 10 || unit === 12 || unit === 13 ? 2 : 6;
  if (unit < 0x80) return unit === 0x22 || unit === 0x5c ? 2 : 1;
  if (unit < 0x800) return 2;
  if (isHigh(unit)) return isLow(text.charCodeAt(at + 1)) ? 2 : 6;
  if (isLow(unit)) return at > 0 && isHigh(text.charCodeAt(at - 1)) ? 2 : 6;
  return 3;
}
