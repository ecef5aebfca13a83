import { create } from "@bufbuild/protobuf";
import { ChatContentSchema, Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkClientReference,
  checkContent,
  checkIdempotencyKey,
  checkRequestId,
  checkSize,
  contentLimits,
} from "./content.ts";

const user = { role: Role.USER, content: "hello" };
const contentOf = (more: object = {}, parameters: object = {}) =>
  create(ChatContentSchema, { model: "pilot", messages: [user], parameters, ...more });
const refused = (field: string) =>
  expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELD", details: { field } });

describe("what a request may be", () => {
  test("an ordinary one", () => {
    expect(() => checkContent(contentOf({}, { maxTokens: 10, temperature: 0, stop: ["\n"], seed: 1n }))).not.toThrow();
  });

  test.each([
    ["model", contentOf({ model: "" })],
    ["model", contentOf({ model: "a\r\nx: y" })],
    ["model", contentOf({ model: "a".repeat(contentLimits.modelChars + 1) })],
    ["messages", contentOf({ messages: [] })],
    ["messages", contentOf({ messages: Array(contentLimits.messages + 1).fill(user) })],
    ["messages", contentOf({ messages: [user, { role: Role.ASSISTANT, content: "so" }] })],
    ["messages[0].role", contentOf({ messages: [{ ...user, role: 9 }] })],
    ["messages[0].content", contentOf({ messages: [{ ...user, content: "" }] })],
    ["messages[0].content", contentOf({ messages: [{ ...user, content: "a\0b" }] })],
    ["messages[0].content", contentOf({ messages: [{ ...user, content: "\ud800" }] })],
    ["messages[0].name", contentOf({ messages: [{ ...user, name: "a\nb" }] })],
    ["max_tokens", contentOf({}, { maxTokens: contentLimits.maxTokens + 1 })],
    ["max_tokens", contentOf({}, { maxTokens: 5_000_000_000 })],
    ["max_tokens", contentOf({}, { maxTokens: -1 })],
    ["temperature", contentOf({}, { temperature: Number.NaN })],
    ["top_p", contentOf({}, { topP: 1.1 })],
    ["top_k", contentOf({}, { topK: -1 })],
    ["seed", contentOf({}, { seed: 2n ** 32n })],
    ["stop", contentOf({}, { stop: Array(100_000).fill("x") })],
    ["stop", contentOf({}, { stop: [""] })],
    ["stop", contentOf({}, { stop: ["x".repeat(contentLimits.stopChars + 1)] })],
  ])("refused with the name of the field: %s (%#)", (field, content) => {
    expect(() => checkContent(content)).toThrow(refused(field));
  });

  test("its size has a bound", () => {
    expect(() => checkSize(contentLimits.contentBytes)).not.toThrow();
    expect(() => checkSize(contentLimits.contentBytes + 1)).toThrow(refused("messages"));
  });
});

describe("what goes into headers, records and subjects", () => {
  test("no line break or other control character passes, whatever stands around it", () => {
    const control = fc.constantFrom("\r", "\n", "\0", "\x1b", "\x7f");
    const around = fc.string({ maxLength: 20 });
    fc.assert(
      fc.property(around, control, around, (before, bad, after) => {
        const text = before + bad + after;
        expect(() => checkIdempotencyKey(text)).toThrow(refused("idempotency_key"));
        expect(() => checkClientReference(text)).toThrow(refused("client_reference"));
        expect(() => checkRequestId(text)).toThrow(refused("request_id"));
      }),
    );
  });

  test("a request id is one that the platform gives", () => {
    expect(() => checkRequestId("01a20942-a1ab-7d17-bdd4-eaf2ef0b9582")).not.toThrow();
    for (const id of [
      "",
      "1",
      "01A20942-A1AB-7D17-BDD4-EAF2EF0B9582",
      "01a20942-a1ab-4d17-bdd4-eaf2ef0b9582",
      "' OR 1=1",
    ])
      expect(() => checkRequestId(id)).toThrow(refused("request_id"));
  });
});
