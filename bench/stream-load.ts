import { setTimeout as delay } from "node:timers/promises";
import { type Dispatcher, request } from "undici";
import { sharedNow } from "../test/support/daemon-proc.ts";

/** Replies that grow at a steady rate, each in a conversation of its own. */
export interface StreamLoad {
  prefix: string;
  streams: number;
  /** They begin evenly over so long; 0 = all at once. */
  beginOverMs: number;
  seconds: number;
  deltasPerSecond: number;
  /** Characters of one delta. */
  deltaLength: number;
  token: string;
}

export interface StreamTimes {
  streams: {
    key: string;
    firstPutAt: number;
    /** Its finish was called, and answered. */
    finishAt: number;
    finishedAt: number;
    /** Not taken by the bridge. */
    refused: number;
  }[];
  putMs: number[];
}

const WORDS = "这是一段正在生成的回答,用来测量卡片的更新。";

/** Runs all of them to their end. */
export async function driveStreams(
  load: StreamLoad,
  to: { url: string; dispatcher: Dispatcher },
): Promise<StreamTimes> {
  const putMs: number[] = [];
  const call = async (
    method: "POST" | "PUT",
    path: string,
    body: object,
  ): Promise<Record<string, unknown> | undefined> => {
    const answer = await request(`${to.url}${path}`, {
      dispatcher: to.dispatcher,
      method,
      headers: { authorization: `Bearer ${load.token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) return undefined;
    return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
  };
  const play = async (n: number): Promise<StreamTimes["streams"][number]> => {
    await delay((load.beginOverMs * n) / load.streams);
    const key = `${load.prefix}${n}`;
    const user = `user:staff${String(n).padStart(4, "0")}`;
    const opened = await call("POST", "/v1/streams", { account: "main", to: user });
    if (!opened) throw new Error("POST /v1/streams was refused");
    const path = `/v1/streams/${String(opened["id"])}`;
    const count = load.seconds * load.deltasPerSecond;
    const began = performance.now();
    const firstPutAt = sharedNow();
    let text = `${key} `;
    let refused = 0;
    for (let seq = 0; seq < count; seq += 1) {
      const wait = began + (seq * 1_000) / load.deltasPerSecond - performance.now();
      if (wait > 0) await delay(wait);
      text += WORDS.slice(0, load.deltaLength);
      const at = performance.now();
      if (!(await call("PUT", path, { seq, text }))) refused += 1;
      putMs.push(performance.now() - at);
    }
    const finishAt = sharedNow();
    if (!(await call("POST", `${path}/finish`, { text, outcome: "done" }))) refused += 1;
    return { key, firstPutAt, finishAt, finishedAt: sharedNow(), refused };
  };
  const streams = await Promise.all(Array.from({ length: load.streams }, (_, n) => play(n)));
  return { streams, putMs };
}
