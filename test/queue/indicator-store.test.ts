import { expect, it } from "vitest";
import { crashImage, openStore, temporaryDirectory } from "./helpers.ts";

const indicator = (msgId: string, fields: { account?: string; conversationId?: string; at?: number } = {}) => ({
  account: "main",
  msgId,
  conversationId: "cidA==",
  name: "🤔思考中",
  at: 1_000,
  ...fields,
});

it("reactions are known until they are taken back, crashes included", async () => {
  const directory = temporaryDirectory();
  const { indicators } = openStore(directory);
  await Promise.all([
    indicators.add(indicator("msgB", { at: 2_000.7 })),
    indicators.add(indicator("msgA", { account: "other" })),
    indicators.add(indicator("msga", { at: 3_000 })),
  ]);
  const after = openStore(crashImage(directory)).indicators;
  const [first, second, third] = [
    indicator("msgA", { account: "other" }),
    indicator("msgB", { at: 2_000 }),
    indicator("msga", { at: 3_000 }),
  ];
  expect(after.all()).toEqual([first, second, third]);
  expect([after.all("main"), after.all("other"), after.all("none")]).toEqual([[second, third], [first], []]);
  const gone = [after.remove("main", "msgB"), after.remove("main", "msgB"), after.remove("main", "msgA")];
  expect(await Promise.all(gone)).toEqual([true, false, false]);
  expect(after.all()).toEqual([first, third]);
});

it("a second reaction on the same message is the same row, as of the second", async () => {
  const { indicators } = openStore();
  await indicators.add(indicator("msgA"));
  await indicators.add(indicator("msgA", { at: 5_000, conversationId: "cidB" }));
  expect(indicators.all()).toEqual([indicator("msgA", { at: 5_000, conversationId: "cidB" })]);
});
