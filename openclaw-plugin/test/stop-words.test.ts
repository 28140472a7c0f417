import { expect, test } from "vitest";
import { loadStopWords } from "../src/stop-words.ts";

test.each([
  ["/stop", true],
  [" /STOP ", true],
  ["stop", true],
  ["停止。", true],
  ["暂停", true],
  ["/stopwatch", false],
  ["stop the machine", false],
  ["请停止生产线", false],
  ["", false],
])("%o asks to stop: %o", async (text, expected) => {
  const isStop = await loadStopWords();
  expect(isStop(text)).toBe(expected);
});
