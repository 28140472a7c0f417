import { describe, expect, it } from "vitest";
import { Settling } from "../src/settling.ts";

const order = (settling: Settling, log: string[]): Promise<void> =>
  settling.settled().then(() => void log.push("next message"));

describe("answers on their way", () => {
  it("hold the next message of their session until they have arrived or failed", async () => {
    const settling = new Settling();
    const log: string[] = [];
    const first = Promise.withResolvers<string>();
    const second = Promise.withResolvers<string>();
    const results = [settling.during(first.promise), settling.during(second.promise)];
    const next = order(settling, log);

    log.push("first arrived");
    first.resolve("one");
    await expect(results[0]).resolves.toBe("one");
    log.push("second failed");
    second.reject(new Error("refused"));
    await expect(results[1]).rejects.toThrow("refused");
    await next;

    expect(log).toEqual(["first arrived", "second failed", "next message"]);
  });

  it("hold it no longer than patience lasts, whatever else is on its way", async () => {
    const settling = new Settling(20);
    void settling.during(new Promise<never>(() => undefined));
    await expect(settling.settled()).resolves.toBeUndefined();
    await settling.during(Promise.resolve());
    await expect(settling.settled()).resolves.toBeUndefined();
  });

  it("hold nothing when there are none", async () => {
    await expect(new Settling().settled()).resolves.toBeUndefined();
  });
});
