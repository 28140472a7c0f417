import { expect, test } from "vitest";
import { Order } from "../src/order.ts";

const placed = () => {
  const { promise: first, resolve } = Promise.withResolvers<void>();
  return { first, resolve };
};
/** Whether it is over by now. */
async function isOver(before: Promise<unknown> | undefined): Promise<boolean> {
  let over = before === undefined;
  void before?.then(() => (over = true));
  await new Promise(setImmediate);
  return over;
}

test("each waits for the one before it, and conversations do not wait for one another", async () => {
  const order = new Order();
  const [one, two] = [placed(), placed()];
  expect(order.enter("a", one, false)).toBeUndefined();
  const before = order.enter("a", two, false);
  expect(order.enter("b", placed(), false)).toBeUndefined();
  expect(await isOver(before)).toBe(false);
  one.resolve();
  expect(await isOver(before)).toBe(true);
  two.resolve();
  expect(await isOver(two.first)).toBe(true);
  expect(order.enter("a", placed(), false)).toBeUndefined();
});

test("after one that overtakes, the next waits for it and for whom it overtook", async () => {
  const order = new Order();
  const [slow, stop] = [placed(), placed()];
  order.enter("a", slow, false);
  expect(order.enter("a", stop, true)).toBeUndefined();
  const before = order.enter("a", placed(), false);
  stop.resolve();
  expect(await isOver(before)).toBe(false);
  slow.resolve();
  expect(await isOver(before)).toBe(true);
});

test("one that was taken back while it waited lets nobody past those before it", async () => {
  const order = new Order();
  const [slow, takenBack] = [placed(), placed()];
  order.enter("a", slow, false);
  order.enter("a", takenBack, false);
  takenBack.resolve();
  expect(await isOver(order.enter("a", placed(), false))).toBe(false);
});
