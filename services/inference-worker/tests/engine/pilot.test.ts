import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createLogger } from "@sallyport/runtime";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ModelFile } from "../../src/core/model-file.ts";
import { LlamaEngine } from "../../src/engine/llama/llama-engine.ts";
import { ask, collect } from "../fixtures/tiny-engine.ts";

const folder = fileURLToPath(new URL("../../../../models/pilot-text/", import.meta.url));
const guard = readFileSync(new URL("../../prompts/guard.txt", import.meta.url), "utf8").trim();
const never = new AbortController().signal;
let engine: LlamaEngine;

beforeAll(async () => {
  const { file, sha256, contextTokens } = JSON.parse(readFileSync(`${folder}manifest.json`, "utf8"));
  const model = new ModelFile(`${folder}${file}`, sha256);
  engine = new LlamaEngine({
    load: { modelPath: model.path, contextTokens, sequences: 2, threads: 1, batchTokens: 512 },
    startupTimeoutMs: 30_000,
    stallTimeoutMs: 10_000,
    readyTimeoutMs: 10_000,
    restart: { baseMs: 10, maxMs: 100 },
    verifyFile: () => model.verify(),
    log: createLogger("inference-worker", "error"),
  });
  await engine.load(never);
}, 60_000);
afterAll(() => engine?.unload());

const say = (text: string) => {
  const { sampling } = ask("", { temperature: 0, maxTokens: 200 });
  const turns = [
    { role: "system" as const, text: guard },
    { role: "user" as const, text },
  ];
  return collect(engine.generate({ turns, sampling }, never));
};

describe("the pilot model behind the shipped guard prompt", () => {
  test("answers in whole sentences and ends by itself", async () => {
    const { text, last } = await say("What is a release ticket?");
    expect(text).toMatch(/^[A-Z].{20,}[.!?]$/s);
    expect(last.finishReason).toBe("stop");
  });

  test("says the same alone and beside another request", async () => {
    const questions = ["What does the gateway do?", "How do plants make food?"];
    const alone = [await say(questions[0]!), await say(questions[1]!)];
    const together = await Promise.all(questions.map(say));
    expect(together.map(({ text }) => text)).toEqual(alone.map(({ text }) => text));
  });
});
