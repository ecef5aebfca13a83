/** Opens the pilot text model with the library that the worker uses, and checks answers against an evaluation item. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { getLlama, LlamaChatSession, resolveChatWrapper, type Token } from "node-llama-cpp";

export interface Manifest {
  name: string;
  version: string;
  format: "gguf";
  file: string;
  /** Hex SHA-256 of the file. */
  sha256: string;
  bytes: number;
  engine: "llama";
  contextTokens: number;
}

/** A held-out question; the answer is right when each group has a keyword that occurs in it, ignoring case. */
export interface HeldOut {
  concept: string;
  group: string;
  question: string;
  must: string[][];
}

export interface HeldOutSet {
  /** The system prompt of the inference worker at the time of training. */
  system: string;
  items: HeldOut[];
}

export interface Marker {
  prompt: string;
  contains: string;
}

/** What the trainer's own network answered: token ids, greedy, without the end token. */
export interface Reference {
  system: string | null;
  question: string;
  prompt: number[];
  answer: number[];
  /** The trainer's log probabilities of the first answer token's five best candidates, by token id. */
  first: Record<string, number>;
}

export const folder = new URL("./pilot-text/", import.meta.url);

export async function readJson<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(new URL(name, folder), "utf8")) as T;
}

export async function fileDigest(name: string): Promise<{ sha256: string; bytes: number }> {
  const bytes = await readFile(new URL(name, folder));
  return { sha256: createHash("sha256").update(bytes).digest("hex"), bytes: bytes.length };
}

export function isRight(answer: string, must: string[][]): boolean {
  const text = answer.toLowerCase();
  return must.every((group) => group.some((keyword) => text.includes(keyword.toLowerCase())));
}

/** Loads the GGUF on one CPU thread. Dispose it to free the native memory. */
export async function openPilot(manifest: Manifest) {
  const llama = await getLlama({ gpu: false, build: "never", skipDownload: true });
  const model = await llama.loadModel({ modelPath: fileURLToPath(new URL(manifest.file, folder)) });
  const context = await model.createContext({ contextSize: manifest.contextTokens, threads: 1, sequences: 1 });
  const sequence = context.getSequence();
  const chatWrapper = resolveChatWrapper(model); // costs up to a second: once, not once a question

  /** The greedy answer under a system prompt ("" for none); `turns` are earlier questions of the same conversation. */
  async function ask(question: string, systemPrompt: string, turns: string[] = []): Promise<string> {
    await sequence.clearHistory();
    const session = new LlamaChatSession({ contextSequence: sequence, chatWrapper, systemPrompt });
    // The repeat penalty is on by default and would bend what a recall model has learned by heart.
    const sampling = { temperature: 0, maxTokens: 420, repeatPenalty: false } as const;
    for (const turn of turns) await session.prompt(turn, sampling);
    const answer = await session.prompt(question, sampling);
    session.dispose();
    return answer;
  }

  /** Greedy continuation of raw token ids, up to the end token. */
  async function complete(prompt: number[], maxTokens: number): Promise<number[]> {
    await sequence.clearHistory();
    const found: number[] = [];
    for await (const token of sequence.evaluate(prompt as Token[], { temperature: 0 })) {
      if (model.isEogToken(token)) break;
      found.push(token);
      if (found.length >= maxTokens) break;
    }
    return found;
  }

  /** Log probabilities of the token after the prompt. */
  async function nextLogProbabilities(prompt: number[]): Promise<Map<number, number>> {
    await sequence.clearHistory();
    const last = prompt.at(-1) as Token;
    const input = [...(prompt.slice(0, -1) as Token[]), [last, { generateNext: { probabilities: true } }] as const];
    const output = await sequence.controlledEvaluate(input as Parameters<typeof sequence.controlledEvaluate>[0]);
    const found = output.at(-1)?.next?.probabilities;
    if (!found) throw new Error("the engine returned no probabilities");
    return new Map([...found].map(([token, probability]) => [token as number, Math.log(probability)]));
  }

  return {
    ask,
    complete,
    nextLogProbabilities,
    /** Token ids of a text, without special tokens. */
    tokenize: (text: string): number[] => model.tokenize(text, false),
    detokenize: (ids: number[]): string => model.detokenize(ids as Token[], true),
    async [Symbol.asyncDispose]() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}
