import { FinishReason, Role, Trust } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError } from "@sallyport/runtime";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkContent } from "./content.ts";
import { finishReason, moderationTexts, parseChatBody, parseModerationBody, toContent, usage } from "./openai.ts";
import { openAiCategories } from "./openai-categories.ts";

const hello = { model: "pilot", messages: [{ role: "user", content: "hello" }] };

describe("OpenAI's chat request in our words", () => {
  test("every field lands where it belongs", () => {
    const content = toContent(
      parseChatBody({
        model: "pilot",
        messages: [
          { role: "developer", content: "be brief" },
          {
            role: "user",
            content: [
              { type: "text", text: "a" },
              { type: "text", text: "b" },
            ],
            name: "ann",
          },
          { role: "tool", content: "found", tool_call_id: "1" },
          { role: "user", content: "quoted", trust: "untrusted" },
        ],
        ...{ max_tokens: 5, temperature: 0, top_p: 0.5, seed: 7, stop: "END", presence_penalty: 1 },
      }),
    );
    expect(content.messages).toMatchObject([
      { role: Role.SYSTEM, content: "be brief", trust: Trust.UNSPECIFIED },
      { role: Role.USER, content: "a\nb", name: "ann" },
      { role: Role.TOOL, content: "found", trust: Trust.UNTRUSTED },
      { role: Role.USER, content: "quoted", trust: Trust.UNTRUSTED },
    ]);
    expect(content.parameters).toMatchObject({ maxTokens: 5, temperature: 0, topP: 0.5, seed: 7n, stop: ["END"] });
  });

  test("max_completion_tokens wins over max_tokens, and null is as good as absent", () => {
    const body = parseChatBody({
      ...hello,
      max_tokens: 5,
      max_completion_tokens: 6,
      stop: null,
      seed: null,
      temperature: null,
    });
    const { parameters } = toContent(body);
    expect(parameters).toMatchObject({ maxTokens: 6, stop: [] });
    expect([parameters?.seed, parameters?.temperature]).toEqual([undefined, undefined]);
  });

  test("what is not supported is refused by name, not ignored", () => {
    const error = { code: "INVALID_ARGUMENT", reason: "UNSUPPORTED_PARAMETER", details: { field: "tools" } };
    expect(() => parseChatBody({ ...hello, tools: [] })).toThrow(expect.objectContaining(error));
    expect(() => parseChatBody({ ...hello, n: 2 })).toThrow(expect.objectContaining({ reason: "INVALID_FIELD" }));
  });

  test("any JSON is either a request within bounds or an INVALID_ARGUMENT: never another error", () => {
    const fields = fc.dictionary(
      fc.constantFrom("max_tokens", "top_k", "seed", "temperature", "stop", "user", "n"),
      fc.jsonValue(),
    );
    const messages = fc.array(fc.record({ role: fc.constantFrom("user", "tool", "x"), content: fc.jsonValue() }), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(fields, messages, (more, said) => {
        try {
          checkContent(toContent(parseChatBody({ model: "pilot", messages: said, ...more })));
        } catch (error) {
          expect(error).toBeInstanceOf(AppError);
          expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
        }
      }),
    );
  });
});

test("moderation takes one text or a list, and both ways of writing a text", () => {
  expect(moderationTexts(parseModerationBody({ input: "a" }))).toEqual(["a"]);
  expect(moderationTexts(parseModerationBody({ input: ["a", { type: "text", text: "b" }] }))).toEqual(["a", "b"]);
  expect(() => parseModerationBody({ input: [] })).toThrow(AppError);
  expect(() => parseModerationBody({ input: Array(33).fill("a") })).toThrow(AppError);
});

test("our categories show under OpenAI's names with the highest score, and only what was found is flagged", () => {
  const { categories, category_scores } = openAiCategories({ harassment: 0.2, "not-theirs": 1 }, [
    { category: "weapons", score: 0.7 },
    { category: "harassment", score: 0.4 },
  ]);
  expect(categories).toMatchObject({ harassment: true, "illicit/violent": true, hate: false });
  expect(category_scores).toMatchObject({ harassment: 0.4, "illicit/violent": 0.7, hate: 0 });
  expect(Object.keys(categories)).not.toContain("not-theirs");
});

test("an answer's end and usage in OpenAI's words", () => {
  expect([finishReason(FinishReason.LENGTH), finishReason(FinishReason.STOP)]).toEqual(["length", "stop"]);
  expect(usage(undefined)).toEqual({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });
});
