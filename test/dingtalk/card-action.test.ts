import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CardActionRead, readCardAction } from "../../src/dingtalk/card-action.ts";

const action = { cardPrivateData: { actionIds: ["stop", "more"], params: { action: "accept" } } };
const bare = {
  type: "actionCallback",
  outTrackId: "br_1",
  corpId: "ding1",
  userId: "staff001",
  userIdType: 1,
  spaceId: "cidGroup==",
  spaceType: "IM_GROUP",
  extension: "{}",
};
const documented = { ...bare, content: JSON.stringify(action) };
const read = (body: unknown): CardActionRead => readCardAction(JSON.stringify(body));

describe("readCardAction", () => {
  it("reads the documented shape", () => {
    expect(read(documented)).toEqual({
      ok: true,
      outTrackId: "br_1",
      actionId: "stop",
      actionIds: ["stop", "more"],
      params: { action: "accept" },
      userId: "staff001",
      corpId: "ding1",
      spaceId: "cidGroup==",
      spaceType: "IM_GROUP",
      body: documented,
    });
  });

  it.each<[string, object]>([
    ["content as an object", { content: action }],
    ["only value", { value: JSON.stringify(action) }],
    ["value beside an empty content", { content: "{}", value: JSON.stringify(action) }],
    ["value beside the same content", { content: JSON.stringify(action), value: JSON.stringify(action) }],
    ["actionData", { actionData: action }],
    ["actionData as a string, without cardPrivateData", { actionData: JSON.stringify(action.cardPrivateData) }],
    ["everything at the top", action.cardPrivateData],
    ["cardPrivateData at the top", action],
    [
      "ids in the content, params at the top",
      { content: { actionIds: ["stop", "more"] }, params: { action: "accept" } },
    ],
    [
      "lists and objects as strings",
      { content: { cardPrivateData: { actionIds: '["stop","more"]', params: '{"action":"accept"}' } } },
    ],
  ])("reads %s", (_name, more) => {
    expect(read({ ...bare, ...more })).toMatchObject({
      ok: true,
      actionId: "stop",
      actionIds: ["stop", "more"],
      params: { action: "accept" },
    });
  });

  it.each<[string, object, string[]]>([
    ["actionId at the top", { actionId: "stop", content: '{"cardPrivateData":{"params":{"a":1}}}' }, ["stop"]],
    ["actionId in actionData", { actionData: { actionId: "stop" } }, ["stop"]],
    ["actionIds that is one string", { content: { cardPrivateData: { actionIds: "stop" } } }, ["stop"]],
    ["actionId among the params", { content: { cardPrivateData: { params: { actionId: "stop" } } } }, ["stop"]],
    ["a numeric id", { content: { cardPrivateData: { actionIds: [7, null, ""] } } }, ["7"]],
    ["no id", { content: '{"cardPrivateData":{"params":{"choice":"a"}}}' }, []],
    ["nothing but the card", { content: "not JSON" }, []],
  ])("finds the action: %s", (_name, more, actionIds) => {
    expect(read({ ...bare, ...more })).toMatchObject({ ok: true, actionIds, actionId: actionIds[0] ?? "" });
  });

  it("takes the first params that are not empty", () => {
    const content = { cardPrivateData: { actionIds: ["a"], params: {} } };
    expect(read({ ...bare, content, params: { x: 1 } })).toMatchObject({ params: { x: 1 } });
    expect(read({ ...bare, content })).toMatchObject({ params: {} });
  });

  it("keeps a press whose type is missing or new", () => {
    const { type: _type, ...rest } = documented;
    expect(read(rest)).toMatchObject({ ok: true, actionId: "stop" });
    expect(read({ ...documented, type: "cardAction" })).toMatchObject({ ok: true, actionId: "stop" });
  });

  it("does not take a unionId for a staffId", () => {
    expect(read({ ...documented, userIdType: 2 })).toHaveProperty("userId", undefined);
    expect(read({ ...documented, userId: "" })).toHaveProperty("userId", undefined);
  });

  it("leaves out what is not there", () => {
    const found = read({ outTrackId: "br_1" });
    expect(Object.keys(found).toSorted()).toEqual([
      "actionId",
      "actionIds",
      "body",
      "ok",
      "outTrackId",
      "params",
      "userId",
    ]);
  });

  it.each([
    ["data is not JSON", "{"],
    ["data is not an object", "[]"],
    ["data is not an object", "null"],
    ["outTrackId is missing", "{}"],
    ["outTrackId is missing", '{"outTrackId":"  "}'],
    ["not an action", '{"type":"dynamicDataCallback","outTrackId":"br_1"}'],
  ])("is not ok: %s (%s)", (reason, data) => {
    expect(readCardAction(data)).toEqual({ ok: false, reason });
  });

  it("never throws, and what it gives can be stored", () => {
    const keys = ["content", "value", "actionData", "cardPrivateData", "actionIds", "actionId", "params", "userId",
      "userIdType", "spaceId", "spaceType", "corpId", "type", "__proto__"]; // prettier-ignore
    const leaf = fc.oneof(
      fc.jsonValue(),
      fc.json(),
      fc.constant("\ud800"),
      fc.constant(action),
      fc.constant(JSON.stringify(action)),
    );
    const inner = fc.dictionary(
      fc.constantFrom(...keys),
      fc.oneof(leaf, fc.dictionary(fc.constantFrom(...keys), leaf)),
    );
    const body = fc
      .tuple(fc.oneof(fc.constant("br_1"), leaf), inner)
      .map(([outTrackId, more]) => ({ ...more, outTrackId }));
    fc.assert(
      fc.property(
        fc.oneof(
          body.map((value) => JSON.stringify(value)),
          fc.json(),
          fc.string(),
        ),
        (data) => {
          const found = readCardAction(data);
          if (!found.ok) return found.reason !== "";
          const stored = JSON.stringify(found);
          return (
            stored.isWellFormed() &&
            found.actionIds.every((id) => typeof id === "string" && id !== "") &&
            found.actionId === (found.actionIds[0] ?? "") &&
            typeof found.params === "object" &&
            found.outTrackId !== ""
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it("gives params that a strict reader takes, also out of a JSON string", () => {
    const params = `{"a":"\\ud800","b":${"[".repeat(5_000)}${"]".repeat(5_000)},"__proto__":{"c":1}}`;
    const found = read({ ...bare, content: `{"cardPrivateData":{"actionIds":["x"],"params":${params}}}` });
    expect(found).toMatchObject({ params: { a: "\ufffd" } });
    expect(JSON.stringify((found as { params: object }).params)).not.toContain("__proto__");
  });

  it("is not overflowed by depth", () => {
    const deep = `${'{"content":'.repeat(20_000)}1${"}".repeat(20_000)}`;
    const data = `{"outTrackId":"br_1","params":{"deep":${deep}},"content":${deep}}`;
    expect(() => JSON.stringify(readCardAction(data))).not.toThrow();
  });
});
