import { expect, it } from "vitest";
import { MediaSlots } from "../../src/flows/media-slots.ts";

it("gives out as many slots as there are, and calls one of those that wait for each that comes back", () => {
  const slots = new MediaSlots(2);
  const called: string[] = [];
  const wakes = ["a", "b", "c"].map((name) => () => void called.push(name));
  const [first, second] = [slots.take(), slots.take()];
  expect(slots.take()).toBeUndefined();
  expect(wakes.map((wake) => slots.enter(wake))).toEqual([false, false, false]);
  first?.();
  expect(called).toEqual(["a"]);
  // Called, it does not take the slot after all: the next is called.
  expect(slots.enter(wakes[0] ?? (() => undefined))).toBe(true);
  slots.leave(wakes[0] ?? (() => undefined));
  expect(called).toEqual(["a", "b"]);
  const third = slots.take();
  expect(third).toBeDefined();
  // Whoever goes away while waiting is not called.
  slots.leave(wakes[2] ?? (() => undefined));
  second?.();
  third?.();
  expect(called).toEqual(["a", "b"]);
  expect(slots.enter(() => undefined)).toBe(true);
});
