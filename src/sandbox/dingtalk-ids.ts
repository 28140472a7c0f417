import { createHash, randomBytes, randomUUID } from "node:crypto";

const hex = (value: number, width = 0): string => value.toString(16).padStart(width, "0");
const hash = (...parts: string[]): Buffer => createHash("sha256").update(parts.join("\0")).digest();

/** Remembered for whoever looks for them; a simulator may run for days. */
const MOST_SECRETS = 10_000;

/** Makes identifiers that look like DingTalk's (dingtalk-protocol.md §0.4, §1.3). */
export class Ids {
  /** What whoever has it may use, oldest first: tokens, sessions, tickets, download codes, signatures. */
  readonly secrets = new Set<string>();
  readonly #node = randomBytes(4).toString("hex");
  #count = 0x1460000;

  /** Of a CALLBACK or EVENT push: `212b9d7c_165f_19bfa1a500a_1461def`. */
  frame(now: number): string {
    return `${this.#node}_${hex(process.pid & 0xffff)}_${hex(Math.trunc(now))}_${hex(++this.#count)}`;
  }

  /** Of a SYSTEM push: `c0a815dd1698551133918195d43`. */
  system(now: number): string {
    return `${this.#node}${Math.trunc(now)}${hex(++this.#count & 0xffffff, 6)}`;
  }

  /** `msg` + base64 + `==`. */
  message(): string {
    return `msg${randomBytes(16).toString("base64")}`;
  }

  /** 32 hex digits: a sessionWebhook's session, a token. */
  secret(): string {
    return this.#issued(randomBytes(16).toString("hex"));
  }

  ticket(): string {
    return this.#issued(randomUUID());
  }

  /** Of a signed address. */
  signature(): string {
    return this.#issued(randomBytes(24).toString("hex"));
  }

  processQueryKey(): string {
    return randomBytes(24).toString("base64");
  }

  downloadCode(): string {
    return this.#issued(randomBytes(48).toString("base64"));
  }

  #issued(secret: string): string {
    const [oldest = ""] = this.secrets;
    if (this.secrets.size >= MOST_SECRETS) this.secrets.delete(oldest);
    this.secrets.add(secret);
    return secret;
  }

  /** The same parts always give the same conversation. */
  static conversation(...parts: string[]): string {
    return `cid${hash("conversation", ...parts)
      .subarray(0, 32)
      .toString("base64")}`;
  }

  /** A user or robot as one robot sees it: opaque, different for every robot. */
  static opaque(robot: string, who: string): string {
    return `$:LWCP_v1:$${hash("opaque", robot, who).subarray(0, 24).toString("base64")}`;
  }

  /** `ding` + 32 hex digits. */
  static corp(name: string): string {
    return `ding${hash("corp", name).toString("hex").slice(0, 32)}`;
  }

  /** A UUID derived from a name. */
  static uuid(name: string): string {
    const h = hash("uuid", name).toString("hex");
    return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20, 32)}`;
  }
}
