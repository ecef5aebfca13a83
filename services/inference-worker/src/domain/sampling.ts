import type { Parameters } from "@sallyport/proto/sallyport/generation/v1/generation";
import type { Sampling } from "../engine/engine.ts";
import { RunFailure } from "./run-failure.ts";

export interface SamplingDefaults {
  maxTokens: number;
  temperature: number;
  topP: number;
  topK: number;
}

const maxSeed = 2 ** 32 - 2;
const maxStops = 16;
const maxStopCharacters = 256;

/** The caller's parameters, checked, with our defaults; `randomSeed` is any 32 bits. Throws REQUEST_INVALID. */
export function toSampling(
  parameters: Parameters | undefined,
  defaults: SamplingDefaults,
  randomSeed: number,
): Sampling {
  const { temperature, topP, topK, seed, stop = [], presencePenalty, frequencyPenalty } = parameters ?? {};
  if (stop.length > maxStops || stop.some((text) => text === "" || text.length > maxStopCharacters)) {
    throw new RunFailure("REQUEST_INVALID", `stop: at most ${maxStops} texts of 1 to ${maxStopCharacters} characters`);
  }
  return {
    maxTokens: within("max_tokens", parameters?.maxTokens || defaults.maxTokens, 1, 2 ** 31),
    temperature: within("temperature", temperature ?? defaults.temperature, 0, 2),
    topP: within("top_p", topP ?? defaults.topP, 0, 1),
    topK: within("top_k", topK ?? defaults.topK, 0, 100_000),
    seed: foldSeed(seed ?? BigInt(randomSeed >>> 0)),
    stop: [...stop],
    presencePenalty: within("presence_penalty", presencePenalty ?? 0, -2, 2),
    frequencyPenalty: within("frequency_penalty", frequencyPenalty ?? 0, -2, 2),
  };
}

/** Engines take 32 bits, and read the highest value as "choose one": the claim states the seed that was used. */
export function foldSeed(seed: bigint): number {
  return Math.min(Number((seed & 0xffffffffn) ^ (seed >> 32n)), maxSeed);
}

function within(name: string, value: number, min: number, max: number): number {
  // Written so that NaN is refused.
  if (!(value >= min && value <= max)) throw new RunFailure("REQUEST_INVALID", `${name} must be from ${min} to ${max}`);
  return value;
}
