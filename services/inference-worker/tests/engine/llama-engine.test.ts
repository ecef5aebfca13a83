import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ask, collect, startTinyEngine, type TinyEngine } from "../fixtures/tiny-engine.ts";

const never = new AbortController().signal;
let tiny: TinyEngine;
beforeAll(async () => {
  tiny = await startTinyEngine();
}, 60_000);
afterAll(() => tiny?.[Symbol.asyncDispose]());

const say = (text: string, sampling = {}) => collect(tiny.engine.generate(ask(text, sampling), never));

describe("text of the real engine", () => {
  test("the same seed gives the same text, another seed another", async () => {
    const first = await say("hello", { seed: 7 });
    expect(first.text.length).toBeGreaterThan(20);
    expect((await say("hello", { seed: 7 })).text).toBe(first.text);
    expect((await say("hello", { seed: 8 })).text).not.toBe(first.text);
  });

  test("one request leaves nothing behind that changes the next", async () => {
    const alone = await say("hello", { temperature: 0 });
    await say("a quite different question", { temperature: 0 });
    expect((await say("hello", { temperature: 0 })).text).toBe(alone.text);
  });

  test("two requests at once get each their own answer", async () => {
    const [a, b] = [await say("alpha", { temperature: 0 }), await say("beta", { temperature: 0 })];
    expect(a.text).not.toBe(b.text);
    const both = await Promise.all([say("alpha", { temperature: 0 }), say("beta", { temperature: 0 })]);
    expect(both.map((answer) => answer.text)).toEqual([a.text, b.text]);
  });

  test("max tokens ends the answer with reason length and an exact count", async () => {
    const answer = await say("hello", { maxTokens: 5 });
    expect(answer.last.finishReason).toBe("length");
    expect(answer.last.usage?.completionTokens).toBe(5);
    expect(answer.tokens).toBe(5);
    expect(answer.last.usage?.promptTokens).toBeGreaterThan(10);
  });

  test("a stop text ends the answer and is not part of it", async () => {
    const whole = (await say("hello")).text;
    const stop = whole.slice(8, 14);
    const cut = await say("hello", { stop: [stop] });
    expect(cut.text).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(cut.last.finishReason).toBe("stop");
  });

  test("penalties change what is said", async () => {
    const plain = (await say("hello", { temperature: 0 })).text.split(" ");
    const varied = (await say("hello", { temperature: 0, frequencyPenalty: 2, presencePenalty: 2 })).text.split(" ");
    expect(new Set(varied).size).toBeGreaterThan(new Set(plain).size);
  });

  test("an answer begins without blanks", async () => {
    expect((await say("hello")).text).toMatch(/^\S/);
  });
});

describe("limits", () => {
  test("a prompt that leaves no room is CONTEXT_OVERFLOW", async () => {
    await expect(say("word ".repeat(300))).rejects.toMatchObject({ code: "CONTEXT_OVERFLOW", retryable: false });
  });

  test("an answer ends with the context, not with a context that forgot the guard prompt", async () => {
    const { last } = await say("hello", { maxTokens: 100_000 });
    expect(last.finishReason).toBe("length");
    expect(last.usage!.promptTokens + last.usage!.completionTokens).toBe(511);
  });

  test("cancelling mid-answer ends it at once and frees the place", async () => {
    const cancel = new AbortController();
    const seen: string[] = [];
    const startedAt = performance.now();
    const run = async () => {
      for await (const { text } of tiny.engine.generate(ask("hello", { maxTokens: 480 }), cancel.signal)) {
        seen.push(text);
        if (seen.length === 3) cancel.abort();
      }
    };
    await expect(run()).rejects.toMatchObject({ code: "CANCELLED" });
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    expect(seen.length).toBeLessThan(480);
    const pid = tiny.engine.pid;
    await Promise.all([say("alpha"), say("beta"), say("gamma"), say("delta")]);
    expect(tiny.engine.pid).toBe(pid);
  });
});

describe("ends of a turn", () => {
  test("the model's own end of turn gives reason stop and is not shown", async () => {
    await using ending = await startTinyEngine({ endBias: 3 });
    const answer = await collect(ending.engine.generate(ask("hello", { maxTokens: 400 }), never));
    expect(answer.last.finishReason).toBe("stop");
    expect(answer.last.usage!.completionTokens).toBeLessThan(400);
    expect(answer.text).not.toContain("end|");
  }, 30_000);

  test("characters that span tokens come out whole", async () => {
    await using emoji = await startTinyEngine({ emojiBias: 2 });
    const pieces: string[] = [];
    for await (const { text } of emoji.engine.generate(ask("hello", { maxTokens: 400 }), never)) pieces.push(text);
    expect(pieces.join("")).toMatch(/[^\x20-\x7e]/);
    for (const piece of pieces) expect(piece.isWellFormed()).toBe(true);
  }, 30_000);
});
