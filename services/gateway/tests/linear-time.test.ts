/** A body of the largest size takes about ten times as long as one of a tenth, whatever it is made of. */
import Fastify from "fastify";
import { expect, test } from "vitest";
import { beyondLinear, fill, type Shape } from "../../../test/kit/linear.ts";
import { checkContent, checkIdempotencyKey } from "../src/domain/content.ts";
import { parseChatBody, parseModerationBody, toContent } from "../src/domain/openai.ts";
import { checkJsonSize } from "../src/handlers/http/body.ts";

const parseJson = Fastify().getDefaultJsonParser("error", "error");
const wide = { jsonDepth: Number.MAX_SAFE_INTEGER, jsonNodes: Number.MAX_SAFE_INTEGER };
const json = (text: string): unknown => {
  let value: unknown;
  parseJson(undefined as never, text, (error, body) => {
    if (error) throw error;
    value = body;
  });
  return value;
};

/** As the server reads it: what has too many values never becomes one. */
const bounded = (text: string) => {
  checkJsonSize(text);
  return json(text);
};

const chat = (content: string) => `{"model":"pilot","messages":[{"role":"user","content":${content}}]}`;

const shapes: readonly Shape[] = [
  ["white space", (size) => `${fill(" ", size)}{}`],
  ["a nest", (size) => fill("[", size / 2) + fill("]", size / 2)],
  ["openings", (size) => fill('{"a":', size)],
  ["one long text", (size) => chat(`"${fill("a", size)}"`)],
  ["escapes", (size) => chat(`"${fill("\\u0061", size)}"`)],
  ["quotes", (size) => chat(`"${fill('\\"', size)}"`)],
  ["half pairs", (size) => chat(`"${fill("\\ud800", size)}"`)],
  ["parts", (size) => chat(`[${fill('{"type":"text","text":"a"},', size)}{"type":"text","text":"a"}]`)],
  ["wrong parts", (size) => chat(`[${fill('{"type":1},', size)}1]`)],
  ["messages", (size) => `{"model":"pilot","messages":[${fill('{"role":"user","content":"a"},', size)}{}]}`],
  ["wrong messages", (size) => `{"model":"pilot","messages":[${fill("7,", size)}7]}`],
  ["unknown members", (size) => `{${Array.from({ length: size / 14 }, (_, i) => `"k${i}":${i}`).join(",")}}`],
  ["forbidden names in a text", (size) => chat(`"${fill('\\"__proto__\\" : ', size)}"`)],
  ["forbidden names", (size) => `{${fill('"__proto__"  ,', size)}`],
  ["inputs", (size) => `{"input":[${fill('"a",', size)}"a"]}`],
];

const readers: [string, (text: string) => unknown][] = [
  ["look over", (text) => checkJsonSize(text, wide)],
  ["parse", json],
  ["chat", (text) => checkContent(toContent(parseChatBody(bounded(text))))],
  ["moderation", (text) => parseModerationBody(bounded(text))],
  ["key", (text) => checkIdempotencyKey(text)],
];

test.each(readers)(
  "%s",
  (_, read) => {
    expect(beyondLinear(read, shapes)).toEqual([]);
  },
  60_000,
);
