import { answerOf, oapiError, type ApiAnswer } from "./dingtalk-errors.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import type { App, Conversation } from "./dingtalk-world.ts";

/** Counts arrivals in a true sliding window; what was refused does not count. Amortised constant time. */
export class SlidingWindow {
  #times: number[] = [];
  #head = 0;

  /** Notes an arrival unless `limit` are already within the last `windowMs`. A limit of 0 lets everything pass. */
  take(now: number, limit: number, windowMs: number): boolean {
    if (limit <= 0) return true;
    while (this.#head < this.#times.length && (this.#times[this.#head] ?? 0) <= now - windowMs) this.#head++;
    if (this.#head > 1_024 && this.#head * 2 > this.#times.length) {
      this.#times = this.#times.slice(this.#head);
      this.#head = 0;
    }
    if (this.#times.length - this.#head >= limit) return false;
    this.#times.push(now);
    return true;
  }
}

/** The largest number of the given ascending times that fall into one window of `windowMs` (half open). */
export function busiestWindow(times: readonly number[], windowMs: number): number {
  let busiest = 0;
  let head = 0;
  for (const [index, time] of times.entries()) {
    while ((times[head] ?? time) <= time - windowMs) head++;
    busiest = Math.max(busiest, index - head + 1);
  }
  return busiest;
}

/** The platform's rate limits (dingtalk-protocol.md §5.2). Monotonic time. */
export class Limits {
  readonly #knobs: SimulatorKnobs;
  #windows = new Map<string, SlidingWindow>();
  #blockedUntil = 0;
  #penalties = new Map<string, number>();

  constructor(knobs: SimulatorKnobs) {
    this.#knobs = knobs;
  }

  /** Everything that comes from one IP address, whatever it calls. */
  ip(): ApiAnswer | undefined {
    const k = this.#knobs;
    const now = performance.now();
    if (now >= this.#blockedUntil) {
      if (this.#take("ip", now, k.ipCalls, k.ipWindowMs)) return undefined;
      this.#blockedUntil = now + k.ipBlockMs;
    }
    return answerOf(k.ipBlockAnswer === "html" ? "ipBlockedHtml" : "ipBlockedJson");
  }

  /** Blocks the IP address at once. */
  blockIp(forMs: number): void {
    this.#blockedUntil = performance.now() + forMs;
  }

  /** App × API, then the whole platform × API. */
  call(app: App, api: string, host: "api" | "oapi"): ApiAnswer | undefined {
    const k = this.#knobs;
    const now = performance.now();
    if (!this.#take(`qps ${app.appKey} ${api}`, now, k.qps, 1_000)) {
      if (host === "oapi") return answerOf("oapiQpsLimit");
      return answerOf(k.throttleAnswer === 429 ? "tooManyRequests" : "qpsLimit");
    }
    if (!this.#take(`qpm ${app.appKey} ${api}`, now, k.qpm, 60_000)) {
      return answerOf(host === "oapi" ? "oapiQpsLimit" : "qpmLimit");
    }
    if (!this.#take(`platform ${api}`, now, k.platformQps, 1_000)) {
      return host === "oapi"
        ? oapiError(90002, "您的服务器调用钉钉开放平台当前接口的所有请求都被暂时禁用了")
        : answerOf("qpsLimitForApi");
    }
    return undefined;
  }

  /** 6,000 messages a minute per robot. */
  robot(app: App): ApiAnswer | undefined {
    const free = this.#take(`robot ${app.robotCode}`, performance.now(), this.#knobs.robotPerMinute, 60_000);
    return free ? undefined : answerOf("robotTooMuch");
  }

  /** Calls of all card APIs together. */
  cards(app: App): ApiAnswer | undefined {
    const k = this.#knobs;
    if (this.#take(`cards ${app.appKey}`, performance.now(), k.cardQps, 1_000)) return undefined;
    return answerOf(k.throttleAnswer === 429 ? "tooManyRequests" : "qpsLimit");
  }

  group(conversationId: string): ApiAnswer | undefined {
    const free = this.#take(`group ${conversationId}`, performance.now(), this.#knobs.groupPerMinute, 60_000);
    return free ? undefined : answerOf("sendTooFast");
  }

  /** Whether the user may get one more 1:1 message. */
  user(app: App, staffId: string): boolean {
    return this.#take(`user ${app.appKey} ${staffId}`, performance.now(), this.#knobs.userPerMinute, 60_000);
  }

  webhook(conversation: Conversation): ApiAnswer | undefined {
    return this.#penalised(`webhook ${conversation.app.appKey} ${conversation.id}`, this.#knobs.webhookPerMinute);
  }

  customRobot(accessToken: string): ApiAnswer | undefined {
    return this.#penalised(`custom ${accessToken}`, this.#knobs.customRobotPerMinute);
  }

  /** So many a minute, then nothing for the penalty. */
  #penalised(key: string, perMinute: number): ApiAnswer | undefined {
    const k = this.#knobs;
    const now = performance.now();
    if (now >= (this.#penalties.get(key) ?? 0)) {
      if (this.#take(key, now, perMinute, 60_000)) return undefined;
      this.#penalties.set(key, now + k.webhookPenaltyMs);
    }
    return answerOf(k.webhookThrottleCode === 130101 ? "webhookTooFast" : "webhookThrottled");
  }

  clear(): void {
    this.#windows = new Map();
    this.#penalties = new Map();
    this.#blockedUntil = 0;
  }

  #take(key: string, now: number, limit: number, windowMs: number): boolean {
    if (limit <= 0) return true;
    let window = this.#windows.get(key);
    if (!window) this.#windows.set(key, (window = new SlidingWindow()));
    return window.take(now, limit, windowMs);
  }
}
