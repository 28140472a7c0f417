import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_FRAME_BYTES, ackFrame, parseFrame } from "../../src/dingtalk/frame.ts";

const push = {
  specVersion: "1.0",
  type: "CALLBACK",
  headers: {
    appId: "765ed67b",
    connectionId: "2f9c95bd",
    contentType: "application/json",
    messageId: "212b9d7c_165f_19bfa1a500a_1461def",
    time: "1769851697756",
    topic: "/v1.0/im/bot/messages/get",
  },
  data: '{"conversationId":"cid…","msgId":"msg=="}',
};

const parse = (frame: unknown) => parseFrame(Buffer.from(JSON.stringify(frame)), false);

describe("parseFrame", () => {
  it("reads a robot message", () => {
    expect(parse(push)).toEqual({
      kind: "push",
      type: "CALLBACK",
      topic: "/v1.0/im/bot/messages/get",
      messageId: "212b9d7c_165f_19bfa1a500a_1461def",
      time: 1769851697756,
      data: push.data,
      raw: JSON.stringify(push),
    });
  });

  it("reads an event with its id and type", () => {
    const headers = { ...push.headers, topic: "*", eventId: "c7c7", eventType: "robot_msg_read", time: 1693221579964 };
    expect(parse({ ...push, type: "EVENT", headers })).toMatchObject({
      kind: "push",
      type: "EVENT",
      eventId: "c7c7",
      eventType: "robot_msg_read",
      time: 1693221579964,
    });
  });

  it("reads a disconnect with and without messageId", () => {
    const bare = { type: "SYSTEM", headers: { topic: "disconnect" }, data: '{"reason":"connection is expired"}' };
    const read = parse(bare);
    expect(read).toMatchObject({ kind: "system", topic: "disconnect", data: '{"reason":"connection is expired"}' });
    expect(read).not.toHaveProperty("messageId");
    expect(parse({ ...bare, headers: { topic: "disconnect", messageId: "c0a8" } })).toMatchObject({
      messageId: "c0a8",
    });
  });

  it.each([
    ["text", "data"],
    ["Buffer", "data"],
    ["fragments", "data"],
    ["ArrayBuffer", "data"],
  ])("takes what a WebSocket gives: %s", (form) => {
    const buffer = Buffer.from(JSON.stringify(push));
    const forms = {
      text: buffer.toString(),
      Buffer: buffer,
      fragments: [buffer.subarray(0, 40), buffer.subarray(40)],
      ArrayBuffer: new Uint8Array(buffer).buffer,
    };
    expect(parseFrame(forms[form as keyof typeof forms], false)).toMatchObject({ kind: "push", data: push.data });
  });

  it("tolerates data that is missing, or an object", () => {
    expect(parse({ ...push, data: undefined })).toMatchObject({ kind: "push", data: "" });
    expect(parse({ ...push, data: { a: 1 } })).toMatchObject({ kind: "push", data: '{"a":1}' });
  });

  it("ignores a time that cannot be one", () => {
    for (const time of ["", "soon", 0, -1, 1e300, null, {}]) {
      expect(parse({ ...push, headers: { ...push.headers, time } })).not.toHaveProperty("time");
    }
  });

  it.each([
    ["not_json", "{"],
    ["not_json", ""],
    ["not_json", "[".repeat(500_000)],
    ["not_an_object", "null"],
    ["not_an_object", "[]"],
    ["not_an_object", '"text"'],
    ["unknown_type", "{}"],
    ["no_message_id", '{"type":"CALLBACK"}'],
    ["no_message_id", '{"type":"EVENT","headers":{"messageId":""}}'],
    ["no_message_id", '{"type":"EVENT","headers":[]}'],
    ["too_large", `"${"x".repeat(MAX_FRAME_BYTES)}"`],
    ["too_large", `"${"字".repeat(MAX_FRAME_BYTES / 3)}"`],
  ])("names what is wrong: %s", (reason, text) => {
    expect(parseFrame(text, false)).toEqual({ kind: "invalid", reason });
  });

  it("keeps the id of a frame of an unknown type", () => {
    expect(parse({ ...push, type: "NEWS" })).toEqual({
      kind: "invalid",
      reason: "unknown_type",
      messageId: push.headers.messageId,
    });
  });

  it("refuses a binary frame even with good content", () => {
    expect(parseFrame(Buffer.from(JSON.stringify(push)), true)).toEqual({ kind: "invalid", reason: "binary" });
  });

  it("never throws, on 10,000 random and mutated inputs", () => {
    const good = JSON.stringify(push);
    const mutated = fc
      .tuple(fc.nat(good.length), fc.nat(12), fc.string({ maxLength: 6 }))
      .map(([at, cut, put]) => good.slice(0, at) + put + good.slice(at + cut));
    const input = fc.oneof(
      mutated,
      fc.string(),
      fc.json(),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc
        .record(
          { type: fc.constantFrom("SYSTEM", "CALLBACK", "EVENT", "X"), headers: fc.anything(), data: fc.anything() },
          { requiredKeys: [] },
        )
        .map((frame) => safeJson(frame)),
    );
    fc.assert(
      fc.property(input, fc.boolean(), (data, isBinary) => {
        const frame = parseFrame(data, isBinary);
        expect(["system", "push", "invalid"]).toContain(frame.kind);
        expect(frame.kind !== "push" || frame.messageId.length > 0).toBe(true);
      }),
      { numRuns: 10_000 },
    );
  });
});

const safeJson = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? "";
  } catch {
    return "{}";
  }
};

describe("ackFrame", () => {
  it("has the shape of the protocol, with data as text", () => {
    expect(JSON.parse(ackFrame("id1", { response: null }))).toEqual({
      code: 200,
      message: "OK",
      headers: { contentType: "application/json", messageId: "id1" },
      data: '{"response":null}',
    });
  });

  it("echoes text as it is", () => {
    expect(JSON.parse(ackFrame("id1", '{"opaque":"1"}'))).toMatchObject({ data: '{"opaque":"1"}' });
  });

  it("has its own words for other codes", () => {
    expect(JSON.parse(ackFrame("id1", {}, 404))).toMatchObject({ code: 404, message: "Not Found" });
    expect(JSON.parse(ackFrame("id1", {}, 500))).toMatchObject({ code: 500, message: "Internal Error" });
  });

  it("leaves out an id that is not there", () => {
    expect(JSON.parse(ackFrame(undefined, "")).headers).toEqual({ contentType: "application/json" });
  });

  it("never throws, whatever the data", () => {
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;
    for (const data of [circular, 1n, undefined, () => {}, Symbol("x")]) {
      expect(JSON.parse(ackFrame("id1", data))).toMatchObject({ data: '{"response":null}' });
    }
  });
});
